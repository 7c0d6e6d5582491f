"""Files as will-it-scale and the kernel test robot write them, with numbers of our own."""

from __future__ import annotations

SUITE = """\
tasks,processes,processes_idle,threads,threads_idle,linear
0,0,100,0,100,0
1,500000,87.51,480000,87.48,500000
4,1900000,50.02,900000,52.75,2000000
8,3600000,0.00,600000,71.30,4000000
"""

MAIL = """\
Hello,

kernel test robot noticed a 25.0% improvement of will-it-scale.per_thread_ops on:


commit: 89abcdef0123456789abcdef0123456789abcdef ("mm: hold it for less long")
https://example.org/linux.git master


testcase: will-it-scale
config: x86_64-rhel-9.4
compiler: gcc-12
test machine: 8 threads 2 sockets Some(R) CPU  @ 2.0GHz (Some Lake) with 16G memory
parameters:

\tnr_task: 100%
\tmode: thread
\ttest: mmap1
\tcpufreq_governor: performance


=========================================================================================
compiler/cpufreq_governor/kconfig/mode/nr_task/rootfs/tbox_group/test/testcase:
  gcc-12/performance/x86_64-rhel-9.4/thread/100%/debian-12-x86_64-20240206.cgz/lkp-some-2sp1/mmap1/will-it-scale

commit:\x20
  0123456789 ("mm: hold it")
  89abcdef01 ("mm: hold it for less long")

0123456789abcdef 89abcdef0123456789abcdef012\x20
---------------- ---------------------------\x20
         %stddev     %change         %stddev
             \\          |                \\ \x20
   3458301           +61.7%    5593003        cpuidle..usage
      3.73 ±  5%      -2.5        1.27        mpstat.cpu.all.usr%
    800000 ±  3%     +25.0%    1000000        will-it-scale.8.threads
     49.70            +4.3%      51.84 ±  2%  will-it-scale.8.threads_idle
    100000 ±  3%     +25.0%     125000        will-it-scale.per_thread_ops
    800000 ±  3%     +25.0%    1000000        will-it-scale.workload
      0.06 ± 45%     -92.4%       0.00 ±181%  perf-sched.sch_delay.avg.ms.somewhere.[unknown]


***************************************************************************************************
lkp-other-4sp2: 64 threads 4 sockets Other(R) CPU (Other Lake) with 512G memory
=========================================================================================
compiler/cpufreq_governor/kconfig/rootfs/tbox_group/test/testcase:
  gcc-14/performance/x86_64-rhel-9.4/debian-13-x86_64-20250902.cgz/lkp-other-4sp2/brk1/will-it-scale

commit:\x20
  v6.99-rc3
  89abcdef01 ("mm: hold it for less long")

       v6.99-rc3 89abcdef0123456789abcdef012\x20
---------------- ---------------------------\x20
         %stddev     %change         %stddev
             \\          |                \\ \x20
   2000000 ±  9%     +10.0%    2200000 ±  8%  will-it-scale.1.linear
   2000000 ±  2%     +10.0%    2200000 ± 13%  will-it-scale.1.processes
 1.197e+08 ±  9%     +10.0%  1.317e+08        will-it-scale.64.processes
      0.12            -8.3%       0.11        will-it-scale.64.processes_idle

Disclaimer:
Results have been estimated.
"""

REPLY = """\
On Tue, Jan 02, 2024 at 03:14:38PM -0800, Somebody wrote:
> > 0123456789abcdef 89abcdef0123456789abcdef012
> > ---------------- ---------------------------
> >          %stddev     %change         %stddev
> >              \\          |                \\
> >     980404 ±  3%     -10.2%     880436 ±  2%  will-it-scale.16.threads
>
> Is it gone with the second patch?

=========================================================================================
compiler/cpufreq_governor/kconfig/mode/nr_task/rootfs/tbox_group/
test/testcase:
  gcc-9/performance/x86_64-rhel-8.3/process/50%/debian-10.4-x86_64-20200603.cgz/
lkp-some-2sp1/pwrite1/will-it-scale

commit:
  0123456789abcdef0123456789abcdef01234567
  89abcdef0123456789abcdef0123456789abcdef
  fedcba9876543210fedcba9876543210fedcba98 ("mm: hold it not at all, which is
a subject that was folded")   <---- v2

0123456789abcdef 89abcdef0123456789abcdef012 fedcba9876543210fedcba98765
---------------- --------------------------- ---------------------------
         %stddev     %change         %stddev     %change         %stddev
             \\          |                \\          |                \\
    100000            +5.0%     105000           -10.0%      90000        will-it-scale.per_process_ops
"""
"""A reply: a quoted table whose parameters were cut, and one of three commits, folded and without a sum."""
