/* SPDX-License-Identifier: MIT
 * control.h - what the files of module "control" share.
 *
 *     control.c   the module: its thread, forks, exit
 *     socket.c    the socket: its file, who may connect
 *     server.c    the loop: clients, lines, replies
 *     commands.c  one request -> one reply (commands.h)
 *     request.c   a line -> words
 *     reply.c     a reply: a text in a mapping of its own, JSON strings
 *
 * One thread runs all of this but control.c. The files from commands.c down do
 * no input or output, so that a fuzz target can call them.
 *
 * docs/control.md describes the protocol.
 */
#ifndef HAKMEM_CONTROL_CONTROL_H
#define HAKMEM_CONTROL_CONTROL_H

#include <hakmem/module.h>

#include <limits.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

enum {
    CONTROL_LINE_BYTES = 4096, /* longest request, without its newline */
    CONTROL_CLIENTS = 32,      /* the next ones are refused */
    CONTROL_QUEUE = 128,       /* connections that wait to be accepted */
    CONTROL_WORDS = 64,        /* most words of a request */
    CONTROL_WAIT_MS = 30000,   /* how long a reply waits for its reader */
    CONTROL_PATH_BYTES = 108,  /* sizeof sun_path of sockaddr_un */
};

/* ---- reply.c ------------------------------------------------------------- */

/*
 * A text that grows. It is in a mapping of its own, which a fork's child does
 * not get. Zero at first.
 */
struct hak_control_reply {
    char *bytes; /* NULL: empty */
    size_t used, mapped_bytes;
    bool failed; /* there was no memory, or it became too long */
};

void hak_control_print(struct hak_control_reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Add text as a JSON string. Bytes that are not UTF-8 become U+FFFD. */
void hak_control_quote(struct hak_control_reply *r, const char *text);
/* Make room for that many bytes behind the text, and return where they begin.
 * NULL: there is no memory, and r->failed is set. */
char *hak_control_room(struct hak_control_reply *r, size_t bytes);
/* Replace the text by an error. */
void hak_control_error(struct hak_control_reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* End the reply's line. A reply that failed becomes an error. */
void hak_control_end(struct hak_control_reply *r);
/* Give the mapping back. */
void hak_control_free(struct hak_control_reply *r);

/* ---- request.c ----------------------------------------------------------- */

/*
 * hak_control_split - split a line into words, in place.
 * Blanks part words. Between two '"' blanks stay, and \" and \\ stand for " and
 * \. A carriage return at the end is cut off.
 * words    gets the words; room for CONTROL_WORDS
 * Returns  how many; -EINVAL, with the reason in why
 */
int hak_control_split(char *line, size_t n, char **words, char *why,
                      size_t why_bytes);

/* "SECTION.KEY=VALUE", as split in place. */
struct hak_control_setting {
    const char *section, *key, *value;
};

/*
 * hak_control_setting - split one word of `set`, in place.
 * Without a dot before the "=" the section is core. "box:NAME.KEY" is
 * short for "box NAME.KEY", which would need quotes.
 * Returns  0; -EINVAL, with the reason in why
 */
int hak_control_setting(char *word, struct hak_control_setting *out, char *why,
                        size_t why_bytes);

/* ---- commands.c ---------------------------------------------------------- */

/* What the commands know of this process beside the host. */
struct hak_control_self {
    const struct hak_module_host *host;
    const char *socket; /* path of the socket's file */
    /* Called around each change: the core may print messages. */
    void (*lend_stderr)(bool lend);
};

/* hak_control_answer - carry out the request line[n] and write its reply, which
 * is one line with its newline. line is changed. */
void hak_control_answer(const struct hak_control_self *self, char *line,
                        size_t n, struct hak_control_reply *out);

/* ---- socket.c ------------------------------------------------------------ */

/* A socket that listens, and its file. */
struct hak_control_socket {
    int fd;
    char path[CONTROL_PATH_BYTES];
    struct hak_control_file {
        uint64_t device, inode; /* 0: there is none */
        int64_t born_ns;        /* numbers of inodes are used again; 0: unknown
                                 */
    } file;
};

/* Read what hak_control_listen needs of the environment. At start. */
void hak_control_read_environment(void);
/*
 * hak_control_listen - make the socket that [control] socket asks for.
 * where     auto or an absolute path, in which %p becomes the process id
 * Returns   0; -errno, with the reason in why; -EADDRINUSE: a living process
 *           listens there
 */
int hak_control_listen(const char *where, struct hak_control_socket *out,
                       char *why, size_t why_bytes);
/* Remove the file of a socket if it still is that socket's. Async-signal-safe.
 */
void hak_control_remove(const struct hak_control_socket *s);
/* May the peer of a connection give orders? If not, why says so. */
bool hak_control_may(int fd, char *why, size_t why_bytes);

/* ---- server.c ------------------------------------------------------------ */

/* Serve clients for ever. Returns -errno when the socket can be used no more.
 */
int hak_control_serve(const struct hak_control_self *self, int fd);

#pragma GCC visibility pop

#endif
