/* SPDX-License-Identifier: MIT
 * hakctl_control.h - speaks to the control sockets of processes.
 *
 * docs/control.md describes the sockets and the protocol.
 *
 *     struct ctl_process *all;
 *     size_t n = ctl_processes(&all);
 *     for (size_t i = 0; i < n; i++) {
 *         char why[256], *line = ctl_ask(all[i].pid, "info", why, sizeof why);
 *         ...
 *         free(line);
 *     }
 *     free(all);
 */
#ifndef HAKMEM_HAKCTL_CONTROL_H
#define HAKMEM_HAKCTL_CONTROL_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    CTL_SOCKET_BYTES = 108, /* sizeof sun_path of sockaddr_un */
    CTL_ASK_S = 5,          /* how long a process may take to answer, unless
                               HAKCTL_WAIT_S in the environment says more */
};

/* A process that listens. */
struct ctl_process {
    pid_t pid;
    char path[CTL_SOCKET_BYTES]; /* of its socket */
};

/*
 * ctl_processes - list the processes of this user that listen at a socket of
 * `socket = auto`, by pid. Files of processes that have ended are removed.
 * Returns  how many are in *out, which the caller frees
 */
size_t ctl_processes(struct ctl_process **out);

/*
 * ctl_ask - send one request and wait for its reply.
 * request  a line without its newline; ctl_word() quotes words
 * Returns  the line of JSON without its newline, which the caller frees; NULL:
 *          there is none, and why says why as a whole sentence
 */
char *ctl_ask(pid_t pid, const char *request, char *why, size_t why_bytes);

/* One process for ctl_ask_all, and what it answered. */
struct ctl_answer {
    pid_t pid;
    char *text; /* the whole lines that came, with their newlines, which the
                   caller frees; NULL: none did */
    bool whole; /* there are as many as were asked for; else why says why not.
                   A process that refuses sends one line, with the reason */
    char why[512];
};

/*
 * ctl_ask_all - send the same requests to many processes at once, and wait for
 * the replies of all. A process that hangs holds up no other.
 * answer      n of them, with their pid filled in
 * request     nlines lines, without the last newline; a reply has as many
 * timeout_ms  how long to wait in all
 */
void ctl_ask_all(struct ctl_answer *answer, size_t n, const char *request,
                 unsigned nlines, unsigned timeout_ms);

/*
 * ctl_find - the process that a word names: a pid, the path of a socket, or the
 * name of a program that only one process runs.
 * Returns  0, after a message: there is none, or there are several
 */
pid_t ctl_find(const char *pid_or_name);

/*
 * ctl_ask_ok - ask, and take the value of "ok" out of the reply.
 * Returns  the value, the caller's; NULL, with the reason in why: no reply, or
 *          the reply is an error
 */
json_t *ctl_ask_ok(pid_t pid, const char *request, char *why, size_t why_bytes);

/* Append a blank and the word to a request, in quotes where it needs them.
 * Exits if there is no memory. *request may be NULL; the caller frees it. */
void ctl_word(char **request, const char *word);

/* The number of a member, 0 if there is none; the text of a member, "" if there
 * is none. */
double ctl_number(const json_t *object, const char *key);
const char *ctl_text(const json_t *object, const char *key);
/* A text as JSON; NULL: null. In one that is not UTF-8, other bytes than those
 * of ASCII become "?". */
json_t *ctl_json_string(const char *text);

/* ---- hakctl_processes.c -------------------------------------------------- */

/* Print what a change cost and whom it has reached. */
void ctl_print_change(const json_t *ok);
/* Print a value as a line of JSON. */
void ctl_print_json(const json_t *value);
/* Print a box of a reply on one line. */
void ctl_print_box(const json_t *box);

#endif
