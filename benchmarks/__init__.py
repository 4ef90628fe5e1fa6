"""Measurements of stompd beside other STOMP brokers, on one machine and in one run.

brokers     finds the brokers that are installed, starts and stops them
wire        prepared bytes, and one connection of the load generator
load        what a run does to a broker
counters    the page of counters that the processes of a run share
produce     the process that sends
consume     the process that receives
children    these processes, what they say, and how they end
machine     what the kernel counted for processes and for the machine
measure     one run: producers and consumers in several processes, counted and timed
scenarios   what is measured, and the bar that stompd has to clear
disk        the disk below: its kind, what a sync costs, which calls a broker makes
backlog     a million messages, a kill, and the way back
idle        memory per idle connection; connects per second
core        decoder and core together, without sockets
decoder     the frame decoder alone
features    selectors, priorities, wildcards and delays in use, and their bars
selectors   asking selectors about a message
plot        bar charts as SVG
report      the table, the Markdown report, the arithmetic of the bars
options     what `python -m benchmarks` may be told
together    load on all brokers in turn
alone       what is measured of each broker alone, and of our parts
__main__    `python -m benchmarks`, which is `make bench`

Absolute figures drift with the machine and with whatever else it does: only figures of the same
run may be compared, and the report always shows all brokers of one run beside each other.
"""
