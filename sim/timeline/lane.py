"""The track of one cpu: charges, as its account gets them, are given their place in time.

The model charges work when it begins, waits when they end, and handlers when they arrive. All of it together
is the cpu's time without a gap, so the place of each piece follows from their order and from where handlers
began, the only ones that say so:

    charged    work 8, work 4 | handler 3 at 5 | wait 6
    cpu's time  wwwww HHH www wwww | ......
               0     5   8   11   15     21

A piece is laid out as soon as no handler can come into it any more: when the engine's time has reached its
end. What two pieces of one activity under one stack have between them is at most a handler: they are one
slice. `close` holds the whole against the cpu's account, page by page and activity by activity.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from sim.errors import AccountingError
from sim.hardware import INTERRUPT
from sim.timeline.scope import Scope
from sim.timeline.spans import Event, Flows, Handler, Leaf, Moment, Node, Notes, Path, Piece

if TYPE_CHECKING:
    from sim.engine.probe import CpuView

HANDLER: Final = "handler"

Stack = tuple[Path, str, str]
"""Path of the open frames, activity, and how its time was spent (`""`: work)."""


class Lane:
    """The track of *cpu* in one run, from the start of its threads at *began* (ps) on.

    *folded* has, for each page of the account, the ps of each stack; *events* what is drawn.
    """

    def __init__(self, cpu: CpuView, began: int, scope: Scope, *, drawn: bool) -> None:
        self.cpu = cpu
        self.folded: list[Counter[Stack]] = [Counter()]
        self.events: list[Event] = []
        self.page = 0
        self._scope = scope
        self.drawn = drawn
        self.alone = True
        """Whether one thread has the cpu to itself."""
        self._at = began
        self._pieces: deque[Piece] = deque()
        self._handlers: deque[Handler] = deque()
        self._turns: list[int] = []  # at which the account's page was turned while the cpu waits
        self._root = self._open = self._last = Node()
        self._leaf: Leaf | None = None
        self._shown_until = 0  # where the last piece that is drawn ends (shown ps)

    # -- what the model tells -------------------------------------------------------------------------------

    def add(self, node: Node, activity: str, how: str, cost: int, notes: Notes | None, flows: Flows) -> None:
        """*cost* of the thread's time, after all that it has had."""
        self.settle()
        if self._pieces and not flows:
            last = self._pieces[-1]
            if last.continues(node, activity, how, self.page, notes):
                last.left += cost
                return
        self._pieces.append(Piece(node, activity, how, cost, self.page, notes, [], flows))

    def add_wait(self, node: Node, activity: str, how: str, cost: int, notes: Notes | None) -> None:
        """*cost* of a wait that is over, on all pages on which it was."""
        turns, self._turns = self._turns, []
        self._pieces.append(Piece(node, activity, how, cost, self.page - len(turns), notes, turns))

    def add_moment(self, node: Node, name: str) -> None:
        """Something happens on the cpu now."""
        self._pieces.append(Piece(node, "", name, 0, self.page))

    def add_handler(self, begin: int, length: int, notes: Notes, flows: Flows) -> None:
        """A handler takes *length* from *begin* on."""
        self._handlers.append(Handler(begin, begin + length, self.page, notes, flows))

    def cut_handlers(self, beyond: int) -> None:
        """The last *beyond* ps of its handlers lie after the end of the run."""
        while beyond:
            last = self._handlers[-1]
            cut = min(beyond, last.end - last.begin)
            last.end -= cut
            beyond -= cut

    def turn(self, now: int) -> None:
        """The account's page is turned: a wait is split, with a handler inside it (`Cpu.turn_page`)."""
        self.page += 1
        self.folded.append(Counter())
        if not self.cpu.waiting:
            return
        self._turns.append(now)
        for handler in list(self._handlers):
            if handler.begin >= now:
                handler.page = self.page
            elif handler.end > now:
                rest = Handler(now, handler.end, self.page, handler.notes, ())
                handler.end = now
                self._handlers.insert(self._handlers.index(handler) + 1, rest)

    # -- the layout -----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Lay out what nothing can come into any more."""
        if self._pieces:
            self._lay_out(self._scope.now)

    def close(self) -> None:
        """Lay out the rest, at the end of the run. Raises `AccountingError` unless all adds up."""
        self._lay_out(None)
        while self._handlers:
            self._place(self._handlers.popleft(), self._last)
        self._move_to(self._root)
        pages = [*self.cpu.pages, self.cpu.spent]
        for number, (folded, page) in enumerate(zip(self.folded, pages, strict=True)):
            laid_out: Counter[str] = Counter()
            for (_, activity, _), time in folded.items():
                laid_out[activity] += time
            charged = {activity: time for activity, time in page.items() if time}
            if dict(laid_out) != charged:
                raise AccountingError(
                    f"the timeline of {self.cpu} differs from page {number} of its account: "
                    f"{dict(laid_out)} instead of {charged}"
                )
        if self._at != self._scope.now:
            raise AccountingError(f"the timeline of {self.cpu} ends at {self._at} ps, not {self._scope.now}")

    def _lay_out(self, until: int | None) -> None:
        """Give pieces their place, up to the time *until*; None: all of them."""
        pieces, handlers = self._pieces, self._handlers
        while pieces:
            piece = pieces[0]
            while handlers and handlers[0].begin <= self._at:
                self._place(handlers.popleft(), piece.node)
            while piece.turns and piece.turns[0] <= self._at:
                piece.turns.pop(0)
                piece.page += 1
            end = self._at + piece.left
            if handlers and handlers[0].begin < end:
                end = handlers[0].begin
            if piece.turns and piece.turns[0] < end:
                end = piece.turns[0]
            if until is not None and end > until:
                return
            self._last = piece.node
            if piece.activity:
                self._draw(piece, end)
            else:
                self._draw_moment(piece)
            piece.left -= end - self._at
            self._at = end
            if not piece.left:
                pieces.popleft()

    def _place(self, handler: Handler, node: Node) -> None:
        length = handler.end - handler.begin
        if not length:
            return
        if handler.begin != self._at:
            raise AccountingError(f"a handler of {self.cpu} begins at {handler.begin} ps, not at {self._at}")
        self.folded[handler.page][node.path, INTERRUPT.name, HANDLER] += length
        self._at = handler.end
        shown = self._scope.clip(handler.begin, handler.end, handler.page) if self.drawn else None
        if shown is None:
            return
        if self._leaf is None or self._open is not node:
            self._move_to(node, shown[0])
        leaf = Leaf(INTERRUPT.name, HANDLER, handler.notes, handler.flows)
        self._count(leaf, length, handler.page)
        self.events += (Event(shown[0], leaf), Event(shown[1], None))
        self._shown_until = shown[1]
        self._scope.drawn += 1

    # -- what is drawn --------------------------------------------------------------------------------------

    def _draw(self, piece: Piece, end: int) -> None:
        length = end - self._at
        self.folded[piece.page][piece.node.path, piece.activity, piece.how] += length
        if not self.drawn or not length:
            return
        shown = self._scope.clip(self._at, end, piece.page)
        if shown is None:
            return
        leaf = self._leaf
        goes_on = (
            leaf is not None
            and self._open is piece.node
            and leaf.activity == piece.activity
            and leaf.how == piece.how
            and (not piece.notes or leaf.notes == piece.notes)
            and not piece.flows
            and bool(leaf.counted) == self._scope.counts(piece.page)
        )
        if not goes_on:
            self._move_to(piece.node, shown[0])
            self._leaf = leaf = Leaf(piece.activity, piece.how, piece.notes or {}, piece.flows)
            piece.flows = ()
            self.events.append(Event(shown[0], leaf))
            self._scope.drawn += 1
        assert leaf is not None
        self._count(leaf, length, piece.page)
        self._shown_until = shown[1]

    def _draw_moment(self, piece: Piece) -> None:
        if not self.drawn or (shown := self._scope.clip(self._at, self._at, piece.page)) is None:
            return
        self._move_to(piece.node, shown[0])
        self.events.append(Event(shown[0], Moment(piece.how)))
        self._scope.drawn += 1

    def _count(self, leaf: Leaf, length: int, page: int) -> None:
        if self._scope.counts(page):
            leaf.counted += length
        else:
            leaf.other += length

    def _move_to(self, node: Node, at: int | None = None) -> None:
        """End the leaf, close the frames that *node* does not have, and open its others at *at* (shown ps).

        Without *at* they end where the last piece did.
        """
        if self._leaf is not None:
            self._leaf = None
            self.events.append(Event(self._shown_until, None))
        if node is self._open:
            return
        here: Node | None = self._open
        there = node.frames()
        kept = {id(each) for each, _ in there}
        ends = self._shown_until if at is None else at
        while here is not None and here.frame is not None and id(here) not in kept:
            self.events.append(Event(ends, None))
            here = here.parent
        for each, frame in there[here.depth if here is not None else 0 :]:
            self.events.append(Event(ends, frame, again=frame.shown))
            frame.shown = True
            self._scope.drawn += 1
            self._open = each
        self._open = node
