/* SPDX-License-Identifier: MIT
 * hakctl.c - the command line of hakmem: dispatch and help.
 */
#include "hakctl.h"

#include <conf/conf.h>
#include <modules/linked.h>
#include <start/start.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

/* ---- commands ---- */

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *synopsis;
    const char *summary;
    const char *help;
};

static int help(int argc, char **argv);

/* What the helps of commands that ask processes have in common. */
#define PID_IS                                                                \
    "PID is a process, the name of a program that one process runs, or the\n" \
    "path of a control socket.\n"
#define REPLY_AS_JSON                                                  \
    "  -j, --json             the process's reply (docs/control.md)\n" \
    "\n"
#define STATUS_OF_ASKING \
    "Exit status: 0; 1 the process refuses or cannot be asked; 2 bad usage.\n"

static const struct command commands[] = {
    {"run", ctl_run,
     "[-c INI] [-p PROFILE] [-f LIBRARY] [-s] [--control]\n"
     "           [--heap-profile[=FILE]] [--timeline[=FILE]] -- PROGRAM "
     "[ARGS]",
     "run a program on hakmem",
     "Checks the configuration, then starts PROGRAM with libhakmem.so in\n"
     "LD_PRELOAD. Errors in the configuration: they are printed, and PROGRAM\n"
     "is not started.\n"
     "\n"
     "  -c, --conf INI         configuration (default: HAKMEM_CONF, else\n"
     "                         conf/default.ini)\n"
     "  -p, --profile PROFILE  apply its [profile PROFILE]\n"
     "  -f, --fused LIBRARY    run it on a library of make fused, or the one\n"
     "                         in that folder; its configuration is fixed\n"
     "  -s, --stats            what each box did, on stderr at exit of "
     "PROGRAM\n"
     "      --stats-all        and of each process that it starts\n"
     "      --heap-profile[=FILE]  whose memory it is: a profile at exit, for\n"
     "                         hakctl profile; %p in FILE is the process id\n"
     "                         (default: hakmem-heap.%p.pb.gz)\n"
     "      --heap-profile-all[=FILE]  and of each process that it starts\n"
     "      --heap-profile-every=BYTES  one sample in so many (default: 512k;\n"
     "                         1: each block)\n"
     "      --control          PROGRAM and what it starts can be asked and\n"
     "                         changed: hakctl ps, stats, set, swap ... Each\n"
     "                         gets a thread; programs that must have one\n"
     "                         thread only (unshare -U) fail then\n"
     "      --timeline[=FILE]  memory over time goes to FILE, a line a period\n"
     "                         (default: hakmem.%p.timeline; %p becomes the\n"
     "                         process id); what PROGRAM starts gets files of\n"
     "                         its own (docs/timeline.md)\n"
     "      --report[=PAGE]    a page of HTML about its memory when it has "
     "ended\n"
     "                         (default: hakmem-report.PID.html; hakctl help\n"
     "                         report)\n"
     "\n"
     "Exit status: that of PROGRAM; 2 bad usage or configuration, 126 PROGRAM\n"
     "cannot be run, 127 it is not found.\n"},
    {"boxes", ctl_boxes, "[--json] [FILE.so | NAME ... | -c INI]",
     "what box files say of themselves",
     "Version, sizes, operations and parameters of each box. NAME is a box\n"
     "beside the library; without any, all of those.\n"
     "\n"
     "  -c, --conf INI         its boxes as they serve: lanes or calls; of "
     "foreign\n"
     "                         ones how each call is made, and the measured "
     "cost\n"
     "  -p, --profile PROFILE  the INI's [profile PROFILE]\n"
     "  -j, --json             an array of objects\n"
     "\n"
     "Exit status: 0; 1 some file is no box, the reason is given; 2 bad\n"
     "usage.\n"},
    {"lint", ctl_lint, "[--json] [-p PROFILE] INI...",
     "find the faults in configurations",
     "Reads each INI as the library would, loads its boxes to check their\n"
     "parameters, and prints every finding as FILE:LINE: error: TEXT or\n"
     "FILE:LINE: warning: TEXT. HAKMEM_ variables count as for a program.\n"
     "Without -p and HAKMEM_PROFILE all profiles are tried.\n"
     "\n"
     "  -p, --profile PROFILE  try this profile only\n"
     "  -j, --json             an array of {file, line, level, text}\n"
     "\n"
     "Exit status: 0 nothing found, 1 warnings, 2 errors.\n"},
    {"explain", ctl_explain, "SIZE[,SIZE...] [-c INI] [-p PROFILE] [--json]",
     "where a request of that size goes, and why",
     "For each SIZE (64, 4k, 1MiB): its size index and class, the rule that\n"
     "won and where it stands, and the boxes that are asked in turn with the\n"
     "slot that each would give. Waste is what of the slot was not asked for,\n"
     "with its share of the slot. \"lane\": served from the thread's list,\n"
     "filled in batches; \"call\": each request is a call of the box.\n"
     "\n"
     "  -c, --conf INI         configuration (default: HAKMEM_CONF, else\n"
     "                         conf/default.ini)\n"
     "  -p, --profile PROFILE  apply its [profile PROFILE]\n"
     "  -j, --json             an array of objects\n"
     "\n"
     "Exit status: 0; 1 a box could not be loaded or took a value amiss; 2 "
     "bad\n"
     "usage or configuration.\n"},
    {"fuse", ctl_fuse, "-c INI [-p PROFILE] -o DIR",
     "a configuration as sources, for make fused",
     "Checks INI and writes what came of it into DIR: boxes.mk, fused_boxes.h\n"
     "and fused_conf.c, from which make fused builds core and boxes as one\n"
     "library. HAKMEM_ variables do not count here.\n"
     "\n"
     "  -c, --conf INI         configuration\n"
     "  -p, --profile PROFILE  apply its [profile PROFILE]\n"
     "  -o, --output DIR       made if it is not there\n"
     "\n"
     "Exit status: 0; 2 bad usage, or a configuration that has errors or\n"
     "cannot be fused.\n"},
    {"version", ctl_version, "[LIBRARY...]",
     "which hakctl, or how libraries were built",
     "Of each LIBRARY: its version, and whether it opens the boxes that a\n"
     "configuration names or which one it was fused from.\n"
     "\n"
     "Exit status: 0; 1 some file is no library of hakmem; 2 bad usage.\n"},
    {"check-box", ctl_check_box,
     "FILE.so [KEY=VALUE...] [OPTIONS] [PROPERTY...]\n"
     "       hakctl check-box -c INI BOX [OPTIONS] [PROPERTY...]",
     "does a box keep the contract, property by property",
     "Runs the conformance suite on a box file: each property in a process of\n"
     "its own and with its own line (TAP), so one that crashes or hangs fails\n"
     "alone. A box with lanes is tried with them and, as NAME_direct, "
     "without.\n"
     "A failure names the file, the operation that was under way and the seed; "
     "one\n"
     "of a cause that was told before, its number. A box that does not open "
     "is\n"
     "told once. Without --timeout all is over within two minutes.\n"
     "\n"
     "  KEY=VALUE          a parameter, as in [box NAME] of an INI\n"
     "  -c INI BOX         file and parameters of that [box BOX]\n"
     "  PROPERTY           only these; \"owns_*\" is those that match\n"
     "  --list             print the properties and what each demands\n"
     "  --may-decline      the box refuses requests in its range at will\n"
     "  --timeout SECONDS  for each property, without an end to all of them\n"
     "                     (default: 40 for each, 110 for all)\n"
     "  --seed N           other sizes and orders (default: 1)\n"
     "  --json             what became of each, as JSON\n"
     "  --in-process       one property, in this process: for a debugger, as "
     "in\n"
     "                     gdb --args hakctl-check-box mine.so --in-process "
     "visit_slots\n"
     "\n"
     "Exit status: 0 all hold, 1 some do not, 2 bad usage or no such box.\n"},
    {"call", ctl_call, "INI BOX 'NAME(ARGS)'...",
     "call functions of a foreign box's library",
     "NAME is a [call NAME] of the INI with box = BOX; ARGS are the values "
     "that\n"
     "its call leaves open: numbers and strings in \"\". Prints the result "
     "and\n"
     "what out parameters got, each with its type.\n"
     "\n"
     "Exit status: 0; 1 the condition of a call does not hold; 2 bad usage or\n"
     "configuration.\n"},
    {"check-so", ctl_check_so, "LIBRARY CASES",
     "calls of any library as test cases",
     "Each line of CASES is a call in the language of docs/foreign.md with a\n"
     "condition on its result, or some with commas between; it runs in a\n"
     "process of its own (TAP). A line that starts with ; or # is a comment.\n"
     "\n"
     "    strlen(cstr:\"abc\") -> size == 3\n"
     "    mi_malloc(size:100) -> ptr % 16\n"
     "\n"
     "Exit status: 0 all hold, 1 some do not, 2 bad usage.\n"},
    {"ps", ctl_ps, "[--json]", "processes that can be asked and changed",
     "Those of this user that were started by hakctl run --control, or with\n"
     "[control] socket = auto: their blocks (live), what the boxes have of "
     "the\n"
     "system (mapped), memory (rss), boxes and INI.\n"
     "\n"
     "  -j, --json             an array of objects\n"
     "\n" STATUS_OF_ASKING},
    {"stats", ctl_stats, "[--json | --prometheus] PID",
     "the report of a running process, now",
     PID_IS
     "\n"
     "  -j, --json             as with [stats] format = json\n"
     "  -p, --prometheus       as the metrics that hakctl exporter serves\n"
     "\n" STATUS_OF_ASKING},
    {"show", ctl_show, "[--json] PID", "each key of a process, and who gave it",
     "Prints SECTION.KEY = VALUE, the layer that gave the value, where, and\n"
     "whether hakctl set may change it.\n" PID_IS
     "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"set", ctl_set, "[--json] PID KEY=VALUE...",
     "change keys of a running process",
     "KEY is SECTION.KEY, as in core.purge_delay_ms or \"box ultra.warm\" (or\n"
     "box:ultra.warm), or a key of [core]. hakctl show says which may "
     "change.\n" PID_IS "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"route", ctl_route, "[--json] PID RANGE ROUTE",
     "route sizes elsewhere in a running process",
     "RANGE is C4, C4-C7, 257-1024 or 262145-; ROUTE a route or box of the\n"
     "process. Blocks that are out stay where they are.\n" PID_IS
     "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"load", ctl_load_box,
     "[--json] [--no-trial] PID NAME=FILE.so [KEY=VALUE...]\n"
     "       hakctl load [--json] [--no-trial] PID NAME=foreign path=LIB "
     "KEY=VALUE...",
     "put a new box into a running process",
     "The box gets no sizes yet. Before the process is asked, a child runs "
     "the\n"
     "properties of hakctl check-box that take a second or two; a box that\n"
     "fails one is not loaded. NAME=foreign makes a box of another "
     "allocator's\n"
     "library, with the keys of docs/foreign.md.\n" PID_IS "\n"
     "  KEY=VALUE              parameters of the box\n"
     "      --no-trial         ask at once\n"
     "  -j, --json             the process's reply (docs/control.md)\n"
     "\n" STATUS_OF_ASKING},
    {"swap", ctl_swap,
     "[OPTIONS] PID OLD FILE.so|BOX [KEY=VALUE...]\n"
     "       hakctl swap --back [--json] PID OLD",
     "another box in place of one, while the process runs",
     "Loads FILE.so as hakctl load does, under the name of the file, puts it\n"
     "wherever OLD is in a route, and waits until the blocks of OLD are "
     "freed.\n" PID_IS "\n"
     "      --no-trial         ask at once\n"
     "      --no-wait          do not wait for OLD to be empty\n"
     "      --back             give OLD its routes back, which drains or has\n"
     "                         drained\n"
     "  -j, --json             the replies by request, at the end\n"
     "\n" STATUS_OF_ASKING},
    {"drain", ctl_drain, "[--json] PID BOX",
     "take a box out of all routes of a process",
     "Prints what is left in it; again, until the box is closed.\n" PID_IS
     "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"trim", ctl_trim, "[--json] PID", "let a process give free memory back",
     PID_IS "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"learner", ctl_learner, "[--json] PID on|off|observe",
     "the learner of a running process",
     "docs/learner.md says what it does; observe only logs.\n" PID_IS
     "\n" REPLY_AS_JSON STATUS_OF_ASKING},
    {"save", ctl_save, "[--json] [-o FILE] PID",
     "a process as the INI that would start it so",
     "Prints each key with its present value, whoever gave it.\n" PID_IS "\n"
     "  -o, --output FILE      write it to FILE, and check that as hakctl "
     "lint\n"
     "                         does\n"
     "  -j, --json             as an object with the text\n"
     "\n" STATUS_OF_ASKING},
    {"top", ctl_top,
     "[PID] [--interval SECONDS] [--sort KEY] [--once] [--json]",
     "live figures of running processes",
     "Shows all processes of this user that have a control socket, or the\n"
     "boxes and size classes of one. A key sorts, Enter looks into a process,\n"
     "q ends; the bottom line lists the keys.\n"
     "\n"
     "  -i, --interval SECONDS  between two samples (default: 1)\n"
     "      --sort KEY          name, alloc, free, live, mapped, rss, fault,\n"
     "                          remote, refill or frag (default: mapped)\n"
     "  -1, --once              print a table of two samples and end\n"
     "  -j, --json              the same as JSON\n"
     "\n"
     "ALLOC/S, FREE/S, REMOTE/S, REFILL/S and FAULT/S are rates. FRAG is\n"
     "(mapped and not purged) / live. A process that ends stays in the table\n"
     "as \"ended\".\n"
     "\n"
     "Exit status: 0; 1 no such process, or it has no control socket; 2 bad\n"
     "usage.\n"},
    {"exporter", ctl_exporter,
     "[--listen ADDRESS:PORT] [--timeout MS] [--no-classes]",
     "serve the figures of all processes to Prometheus",
     "Answers GET /metrics with the figures of all processes of this user\n"
     "that have a control socket (docs/monitoring.md lists them).\n"
     "\n"
     "  -l, --listen ADDRESS:PORT  default: 127.0.0.1:9464; port 0: any free\n"
     "                             one. The first line of output says where.\n"
     "  -t, --timeout MS           how long a process may take to answer\n"
     "                             (default: 500)\n"
     "      --no-classes           leave out the figures by size class, which\n"
     "                             are most of them\n"
     "\n"
     "Ends on SIGTERM and SIGINT. Exit status: 0; 1 it cannot listen; 2 bad\n"
     "usage.\n"},
    {"report", ctl_report, "[-o PAGE] FILE... | PID",
     "a page of HTML about the memory of a program",
     "Makes one page of any timelines, heap profiles and JSON reports of a\n"
     "program: memory over time, what it is held for, size classes, call "
     "sites\n"
     "with a flame graph, and which keys of the INI would help. The page "
     "needs\n"
     "no other file and no network (docs/report.md).\n"
     "\n"
     "FILE is what [stats] timeline, [heap_profile] file or [stats] at_exit "
     "with\n"
     "format = json has written. " PID_IS "\n"
     "  -o, --output PAGE      default: report.html\n"
     "\n"
     "Exit status: 0; 1 a file cannot be read or is none of these, or the "
     "page\n"
     "cannot be written; 2 bad usage.\n"},
    {"profile", ctl_profile,
     "FILE [VIEW] [FORMAT] [OPTIONS]\n"
     "       hakctl profile PID start [--every BYTES] | stop | state | dump "
     "[FILE]",
     "whose memory it is: a heap profile as text",
     "Reads a heap profile (profile.proto, as of hakctl run --heap-profile;\n"
     "pprof reads the same files) and prints which functions asked for the\n"
     "memory. \"-\" reads standard input. docs/heap-profile.md says more.\n"
     "\n"
     "VIEW, one of:\n"
     "  --in-use               in use when the file was written (default)\n"
     "  --peak                 in use when the most was in use (default of a\n"
     "                         file that was written at exit)\n"
     "  --leaks                in use at exit, without what libc keeps\n"
     "  --allocated            allocated since the start\n"
     "  --overhead             what blocks hold besides what was asked for\n"
     "  --lifetimes            how long freed blocks were in use\n"
     "FORMAT, one of (default: a list of functions and a tree):\n"
     "  --flat, --tree         only the one or the other\n"
     "  --text                 each stack in full\n"
     "  --collapsed            for flamegraph.pl and speedscope\n"
     "  --json                 all of it, as one object\n"
     "\n"
     "  --by KEY               list by stack, function, thread, box, library\n"
     "  --diff OTHER           how much more than in OTHER\n"
     "  --focus RE             only stacks with a function, source file or\n"
     "                         library that matches\n"
     "  --objects              blocks instead of bytes\n"
     "  --top N                lines of the list (default: 20; 0: all)\n"
     "  --wrappers             show functions that only pass on to malloc\n"
     "  --debuginfod           ask the servers of DEBUGINFOD_URLS for symbols\n"
     "  --no-symbols           addresses only\n"
     "\n"
     "SELF is what a function asked for itself, CUMUL with its callees; +- is\n"
     "the error that 95 of 100 profiles stay within.\n"
     "\n" PID_IS
     "  start                  begin to sample, one in BYTES (default: the "
     "INI's)\n"
     "  stop                   sample no more\n"
     "  state                  how many samples there are, and what they say\n"
     "  dump [FILE]            write a profile (default: where the INI says)\n"
     "  -j, --json             the process's reply\n"
     "\n"
     "Exit status: 0; 1 the file cannot be read or has no such view, or the\n"
     "process refuses; 2 bad usage.\n"},
    {"record", ctl_record,
     "[-c INI] [-p PROFILE] [-o FILE] [--seconds N] [--ops N] [--]\n"
     "           PROGRAM [ARGS]\n"
     "       hakctl record PID start [-o FILE] [--seconds N] [--ops N]\n"
     "       hakctl record PID stop",
     "what a program asks of malloc, as a trace",
     "Starts PROGRAM on hakmem, as hakctl run does, or asks a process that "
     "runs,\n"
     "and writes each call of malloc, free and their kin to FILE, for hakctl\n"
     "replay, tune and trace (docs/record.md).\n"
     "\n"
     "  -c, --conf INI         configuration (default: HAKMEM_CONF, else\n"
     "                         conf/default.ini)\n"
     "  -p, --profile PROFILE  apply its [profile PROFILE]\n"
     "  -o, --output FILE      default: hakmem.%p.trace; %p becomes the "
     "process\n"
     "                         id. Other processes that PROGRAM starts get "
     "files\n"
     "                         with their pid before the suffix\n"
     "      --seconds N        record so long; PROGRAM goes on\n"
     "      --ops N            record so many calls; PROGRAM goes on\n"
     "\n" PID_IS
     "  start                  record until Ctrl-C, the end of the process, "
     "or\n"
     "                         hakctl record PID stop from elsewhere\n"
     "\n"
     "Exit status: that of PROGRAM; of PID: 0, 1 the process refuses or the "
     "file\n"
     "could not be written; 2 bad usage or configuration, 126 PROGRAM cannot "
     "be\n"
     "run, 127 it is not found.\n"},
    {"compare", ctl_compare,
     "-c INI | --lib LIBRARY | --libc ... [OPTIONS] -- PROGRAM\n"
     "           [ARGS]\n"
     "       hakctl compare --from FILE [--json FILE] [--markdown]",
     "configurations and allocators side by side",
     "Runs PROGRAM on each contender in turn, round after round, and says\n"
     "which differ from the first in time, memory and faults, and how surely\n"
     "(docs/compare.md).\n"
     "\n"
     "Contenders, at least two; the first is the base:\n"
     "  -c, --conf INI         hakmem with that configuration\n"
     "      --lib LIBRARY      another allocator, by LD_PRELOAD\n"
     "      --libc             nothing preloaded\n"
     "\n"
     "  -n, --rounds N         default: 10\n"
     "      --warmup N         rounds before that do not count (default: 1)\n"
     "      --metric RE        compare a figure that is printed: the first\n"
     "                         group of RE's last match; larger is better\n"
     "      --smaller-is-better  of the figure\n"
     "      --load COMMAND     PROGRAM is a server: sh runs COMMAND beside "
     "it,\n"
     "                         whose time and output count; then PROGRAM gets\n"
     "                         SIGTERM\n"
     "      --ready COMMAND    is tried until it succeeds, before the load\n"
     "                         (default: wait for a second)\n"
     "      --input FILE       stdin of PROGRAM (default: /dev/null)\n"
     "      --output           show what PROGRAM prints, on stderr\n"
     "      --ignore-failure   leave failed runs out and go on\n"
     "  -j, --json FILE        each run, too; \"-\": stdout, without the "
     "table\n"
     "      --markdown         the table as Markdown\n"
     "      --from FILE        print the comparison of a file of --json again\n"
     "\n"
     "Exit status: 0 it was compared; 1 a run failed; 2 bad usage or\n"
     "configuration; 126 PROGRAM cannot be run, 127 it is not found; 130 it\n"
     "was interrupted. A comparison that ends early prints what there is.\n"},
    {"replay", ctl_replay,
     "TRACE [-c INI | --lib LIBRARY | --libc]... [OPTIONS]",
     "play a trace on configurations and allocators",
     "Makes the calls of TRACE, which hakctl record has written, on each\n"
     "contender in turn, and says what they cost there: time in the "
     "allocator,\n"
     "memory, page faults, and how surely they differ (docs/replay.md).\n"
     "\n"
     "Contenders; the first is the base (default: the configuration that\n"
     "hakctl run takes):\n"
     "  -c, --conf INI         hakmem with that configuration\n"
     "      --lib LIBRARY      another allocator, by LD_PRELOAD\n"
     "      --libc             libc's malloc\n"
     "\n"
     "  -n, --rounds N         default: 6, after one that does not count; "
     "with\n"
     "                         --check 1\n"
     "      --from X, --to Y   measure only that part: shares (0.5), percents\n"
     "                         (50%) or numbers of calls. What comes before "
     "is\n"
     "                         played, too\n"
     "      --check            fill each block, and look at contents, "
     "overlap,\n"
     "                         alignment and zeroes; times mean nothing then\n"
     "      --exact            one call at a time, in the order of the trace\n"
     "                         (default: threads stay within some 2000 calls)\n"
     "      --free-run         threads wait only for blocks that they need\n"
     "      --seed N           of what --check fills in (default: 1)\n"
     "      --real-time        the allocator sees the real clock, not the\n"
     "                         trace's\n"
     "      --memory BYTES     for the operations (default: 1g); longer "
     "traces\n"
     "                         are read again for each run\n"
     "      --output           show what the allocator prints, on stderr\n"
     "      --ignore-failure   leave failed runs out and go on\n"
     "  -j, --json FILE        each run, too; \"-\": stdout, without the "
     "table\n"
     "      --markdown         the table as Markdown\n"
     "      --page FILE        a page of HTML with memory over the trace\n"
     "\n"
     "Exit status: 0; 1 a run failed: the allocator crashed, or a check has\n"
     "found a fault; 2 bad usage, trace or configuration; 130 interrupted.\n"},
    {"tune", ctl_tune,
     "TRACE... [-c BASE.ini] [-o FILE] [--budget TIME] [OPTIONS]",
     "find the best configuration for a program's traces",
     "Searches routes, parameters of boxes and purge_delay_ms for what makes\n"
     "the programs of the traces (hakctl record) take less time in the\n"
     "allocator or less memory, on one part of each trace, and confirms it on\n"
     "another part. Writes an INI only if that shows a gain beyond the noise.\n"
     "Each changed line has its own gain as a comment (docs/tune.md).\n"
     "\n"
     "  -c, --conf INI         where to begin (default: HAKMEM_CONF, else\n"
     "                         conf/default.ini)\n"
     "  -o, --output FILE      default: tuned.ini\n"
     "      --budget TIME      90s, 10m, 1h (default: 10m)\n"
     "      --weight LIST      what counts how much (default: time=1,rss=1)\n"
     "      --loss PERCENT     by how much a measure that counts may get "
     "worse\n"
     "                         (default: 1)\n"
     "      --trace-weight LIST  of each trace, as 2,1,1 (default: equal)\n"
     "      --seed N           other random combinations (default: 1)\n"
     "      --resume           go on with what was interrupted, by FILE.state\n"
     "  -j, --json FILE        the result, too; \"-\": stdout, instead of "
     "text\n"
     "\n"
     "Exit status: 0, also if no change is worth it; 1 the base cannot be\n"
     "played; 2 bad usage, traces or configuration; 130 it was interrupted,\n"
     "and what was confirmed by then is written.\n"},
    {"trace", ctl_trace,
     "FILE [--json]\n"
     "       hakctl trace dump FILE\n"
     "       hakctl trace import FILE -o OUT\n"
     "       hakctl trace cut FILE [--from PLACE] [--to PLACE] -o OUT",
     "what is in a trace, and parts of it",
     "Prints what a trace of hakctl record has in it: calls, threads, live\n"
     "memory, sizes and lifetimes of blocks. Reads the logs of Firefox's\n"
     "logalloc and of glibc's mtrace, too. \"-\" is standard input or output\n"
     "(docs/trace.md).\n"
     "\n"
     "  dump                   a line for each operation\n"
     "  import                 write any of these formats as a trace\n"
     "  cut                    write a part; blocks that are live where it\n"
     "                         begins are made first. PLACE is the number of\n"
     "                         an operation, or a share such as 25%\n"
     "\n"
     "  -o, --output OUT       the trace to write\n"
     "  -p, --pid PID          of a logalloc log: this process (default: the\n"
     "                         one with the most lines)\n"
     "  -j, --json             the summary as an object\n"
     "\n"
     "Exit status: 0, also for a trace that was cut; 1 a file cannot be read\n"
     "to its end or written; 2 bad usage.\n"},
    {"help", help, "[COMMAND]", "this text, or that of a command", ""},
};
enum { NCOMMANDS = sizeof commands / sizeof commands[0] };

/* ---- output of all commands ---- */

__attribute__((format(printf, 1, 0))) static void say_args(const char *format,
                                                           va_list ap)
{
    fflush(stdout);
    fputs("hakctl: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
}

void ctl_say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say_args(format, ap);
    va_end(ap);
}

void ctl_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say_args(format, ap);
    va_end(ap);
    exit(CTL_BAD);
}

pid_t ctl_fork(int ends[2])
{
    fflush(NULL);
    if (pipe2(ends, O_CLOEXEC) != 0)
        ctl_die("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        ctl_die("fork: %s", strerror(errno));
    return pid;
}

void ctl_origin(FILE *out, struct hak_origin origin)
{
    if (origin.file == NULL)
        fputs("built-in", out);
    else if (origin.line == 0)
        fputs(origin.file, out);
    else
        fprintf(out, "%s:%d", origin.file, origin.line);
}

void ctl_did_you_mean(char *text, size_t bytes, const char *word,
                      const char *const *candidates, size_t n)
{
    const char *near = hak_conf_nearest(word, candidates, n);
    text[0] = 0;
    if (near != NULL)
        snprintf(text, bytes, "; did you mean \"%s\"?", near);
}

/* ---- arguments of all commands ---- */

int ctl_option(int argc, char **argv, const char *shorts,
               const struct option *longs)
{
    opterr = 0; /* getopt's own messages do not say where help is */
    int option = getopt_long(argc, argv, shorts, longs, NULL);
    if (option == 'h') {
        ctl_help(argv[0]);
        exit(fflush(stdout) == 0 ? CTL_OK : CTL_BAD);
    }
    if (option != '?' && option != ':')
        return option;
    const char *word = argv[optind - 1];
    char letter[] = {'-', (char)optopt, 0};
    if (strncmp(word, "--", 2) != 0 && optopt != 0)
        word = letter;
    if (option == ':')
        ctl_say("%s: option %s needs a value; see hakctl help %s", argv[0],
                word, argv[0]);
    else
        ctl_say("%s: unknown option \"%s\"; see hakctl help %s", argv[0], word,
                argv[0]);
    return '?';
}

const char *ctl_conf(const char *given)
{
    const char *path = given != NULL ? given : getenv("HAKMEM_CONF");
    if (path == NULL)
        path = hak_default_conf();
    if (path == NULL)
        ctl_say("no default configuration found; name one by -c INI or "
                "HAKMEM_CONF=INI");
    return path;
}

bool ctl_own_dir(char *dir, size_t bytes)
{
    ssize_t n = readlink("/proc/self/exe", dir, bytes - 1);
    char *slash = n > 0 ? memrchr(dir, '/', (size_t)n) : NULL;
    if (slash == NULL)
        ctl_say("cannot tell where hakctl is; is /proc mounted?");
    else
        *slash = 0;
    return slash != NULL;
}

/* ---- help and main ---- */

static void usage(FILE *out)
{
    fputs("usage: hakctl COMMAND [ARGS]\n\n", out);
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\nhakctl help COMMAND says more; hakctl --version says which.\n",
          out);
}

static const struct command *find_command(const char *name)
{
    const char *names[NCOMMANDS];
    char mean[64];
    for (size_t i = 0; i < NCOMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(names[i], name) == 0)
            return &commands[i];
    }
    ctl_did_you_mean(mean, sizeof mean, name, names, NCOMMANDS);
    ctl_say("unknown command \"%s\"%s", name,
            mean[0] != 0 ? mean : "; hakctl help lists them");
    return NULL;
}

int ctl_help(const char *command)
{
    const struct command *c = NULL;
    if (command != NULL && (c = find_command(command)) == NULL)
        return CTL_BAD;
    if (c == NULL)
        usage(stdout);
    else
        printf("usage: hakctl %s %s\n\n%s%s", c->name, c->synopsis, c->help,
               c->help[0] != 0 ? "" : "Prints the help of hakctl.\n");
    return CTL_OK;
}

static int help(int argc, char **argv)
{
    return ctl_help(argc > 1 ? argv[1] : NULL);
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word == NULL) {
        usage(stderr);
        return CTL_BAD;
    }
    if (strcmp(word, "--version") == 0)
        return ctl_version(1, (char *[]){argv[1], NULL});
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    const struct command *c = find_command(word);
    return c != NULL ? c->run(argc - 1, argv + 1) : CTL_BAD;
}

int main(int argc, char **argv)
{
    hak_modules_link();
    ctl_foreign_start(argv);
    int status = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ctl_say("cannot write the output: %s", strerror(errno));
        return CTL_BAD;
    }
    return status;
}
