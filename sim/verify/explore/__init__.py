"""Schedules gone through one by one: in which orders may the steps of two or three threads come?

order        runs a race: whoever decides says which thread goes on, at each of its steps
changed      what races change in the model
traces       what the steps of a race have touched
deciders     who decides: the order that is written down, at random, by falling priorities (PCT)
systematic   depth first, without orders that differ from one seen only in steps that do not meet
race         a program whose last round is the race, checked as short histories are
layout       what a race is; races_of_pages, races_of_processes, races_of_locks have them
layouts      the races that each design is asked
exploring    a race on a design, for as long as a budget lasts
scenario     races as scenarios of verify
hunting      after how many orders is a mutant found?
chances      is it found with a probability of 0.99?
"""

from sim.verify.explore.exploring import Exploration, Way, chance_of, explore
from sim.verify.explore.layout import Layout
from sim.verify.explore.layouts import LAYOUTS, layouts_of
from sim.verify.explore.scenario import RACES, Races, check_race

__all__ = [
    "LAYOUTS",
    "RACES",
    "Exploration",
    "Layout",
    "Races",
    "Way",
    "chance_of",
    "check_race",
    "explore",
    "layouts_of",
]
