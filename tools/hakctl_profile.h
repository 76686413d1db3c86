/* SPDX-License-Identifier: MIT
 * hakctl_profile.h - what the files of hakctl profile share.
 *
 *     hakctl_profile.c           the command: live requests, else a file
 *     hakctl_profile_file.c      its options, and the order of what follows
 *     hakctl_profile_unpack.c    a file's bytes, without gzip
 *     hakctl_profile_parse.c     these bytes as a struct pf (profile.proto)
 *     hakctl_profile_tables.c    the tables of a struct pf, and their check
 *     hakctl_profile_set.c       byte strings, each once
 *     hakctl_profile_symbols.c   addresses to functions and lines, by libdw
 *     hakctl_profile_frames.c    a location of a profile as frames
 *     hakctl_profile_known.c     demangling; wrappers of malloc; known blocks
 *     hakctl_profile_rows.c      samples as rows of values of one view
 *     hakctl_profile_groups.c    rows added up by function, thread, box ...
 *     hakctl_profile_format.c    numbers and frames as text
 *     hakctl_profile_print.c     header, totals and lists as text
 *     hakctl_profile_tree.c      call sites as a tree
 *     hakctl_profile_json.c      all of it as JSON
 *
 * All but the first are part of hakctl-profile alone, since they need zlib and
 * libdw. Memory is given back where that is simple; the process ends after one
 * profile.
 */
#ifndef HAKMEM_HAKCTL_PROFILE_H
#define HAKMEM_HAKCTL_PROFILE_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* hakctl profile of a file; in hakctl itself it starts hakctl-profile. */
int ctl_profile_file(int argc, char **argv);

/* ---- hakctl_profile_unpack.c --------------------------------------------- */

enum { PF_WHY_BYTES = 320 };

/*
 * pf_unpack - read a whole file, and unpack it if it is gzip.
 * most_bytes  of the unpacked content; more is an error
 * Returns     the bytes, the caller's; NULL: why says why, with the file's name
 */
uint8_t *pf_unpack(const char *file, size_t most_bytes, size_t *n,
                   char why[PF_WHY_BYTES]);

/* ---- hakctl_profile_parse.c, hakctl_profile_tables.c --------------------- */

/*
 * A profile as profile.proto has it. Strings are indexes into `string`, others
 * are indexes into the array of the name, or PF_NONE. pf_parse has checked all
 * of them.
 */
#define PF_NONE UINT32_MAX

struct pf_type {
    uint32_t type, unit;
};
struct pf_mapping {
    uint64_t id, start, limit, offset;
    uint32_t file, build_id;
};
struct pf_function {
    uint64_t id;
    uint32_t name, system_name, file;
};
struct pf_line {
    uint64_t function_id, line;
    uint32_t function;
};
struct pf_location {
    uint64_t id, mapping_id, address;
    uint32_t mapping;
    uint32_t first_line, nlines; /* innermost first */
};
struct pf_label {
    uint32_t key, text;
    int64_t number;
};
struct pf_sample {
    size_t first_location; /* of location_at; innermost first */
    size_t first_value;    /* of value; as many as there are types */
    uint32_t nlocations, nvalues, first_label, nlabels;
};
struct pf {
    char **string;
    struct pf_type *type;
    struct pf_mapping *mapping;
    struct pf_function *function;
    struct pf_line *line;
    struct pf_location *location;
    struct pf_label *label;
    struct pf_sample *sample;
    uint64_t *location_at; /* ids, then indexes */
    uint64_t *value;
    uint64_t *comment;
    uint32_t nstrings, ntypes, nmappings, nfunctions, nlines, nlocations,
        nlabels, nsamples, ncomments;
    size_t nlocation_ats, nvalues;
    uint32_t default_type; /* a string; 0: none */
    uint64_t time_ns, duration_ns, period;
};

/*
 * pf_parse - read unpacked bytes.
 * Returns  true; false: they are no profile, and why says what is wrong where.
 *          pf_free is called in both cases.
 */
bool pf_parse(struct pf *out, const uint8_t *bytes, size_t n,
              char why[PF_WHY_BYTES]);
void pf_free(struct pf *p);
/* Turn ids into indexes and check all indexes. Part of pf_parse. */
bool pf_link(struct pf *p, char why[PF_WHY_BYTES]);

const char *pf_text(const struct pf *p, uint32_t string);
/* The value of comment "KEY=VALUE"; NULL: there is none. */
const char *pf_comment(const struct pf *p, const char *key);
/* Make room for one more element in an array of n. Exits without memory. */
void *pf_grow(void *array, size_t n, size_t element_bytes);

/* ---- hakctl_profile_set.c ------------------------------------------------ */

/* A set of byte strings, numbered as they came. Zero at first. */
struct pf_set {
    struct pf_entry {
        const void *bytes;
        size_t n;
        uint64_t hash;
    } * entry;
    uint32_t n;
    uint32_t *slot; /* number of an entry + 1, or 0 */
    size_t nslots;
};

/* The number of these bytes in the set, which keeps a copy, 8-byte aligned. */
uint32_t pf_set_add(struct pf_set *set, const void *bytes, size_t n);
/* A copy of the text that stays, the same for the same text. NULL gives "". */
const char *pf_keep(const char *text);

/* ---- frames -------------------------------------------------------------- */

/* One function in a stack. Texts are those of pf_keep, and equal frames have
 * one address. */
struct pf_frame {
    const char *function; /* or "library+0x12", "[unknown] 0x12" */
    const char *file;     /* "" = not known */
    const char *library;  /* last part of the mapped file's name; "" = none */
    uint64_t line;        /* 0 = not known */
};

/* Where symbols come from, hakctl_profile_symbols.c. */
struct pf_found {
    const char *name; /* as in the file's tables; may be mangled */
    const char *file;
    uint64_t line;
};
enum { PF_INLINED_MOST = 64 };

struct pf_library;
/*
 * pf_library - the file of a mapping, opened once. Says once what is wrong with
 * it: it is gone, or has another build id.
 * build_id  hex; "": not compared
 * Returns   NULL: no symbols from it
 */
struct pf_library *pf_library(const char *file, const char *build_id);
/* The library's address of an address of the process, which lies at that offset
 * of the file; the offset itself if no segment has it. */
uint64_t pf_library_address(struct pf_library *l, uint64_t address,
                            uint64_t offset);
/* The functions at an address, innermost first: inlined ones, then the one
 * that contains them. Returns how many, at most PF_INLINED_MOST. */
size_t pf_library_find(struct pf_library *l, uint64_t address,
                       struct pf_found *out);

/* hakctl_profile_frames.c */
struct pf_stack {
    const struct pf_frame **at; /* innermost first */
    size_t n;
};
struct pf_names {
    const struct pf *profile;
    bool symbols;            /* look them up */
    struct pf_stack *frames; /* of each location */
    struct pf_jit *jit;      /* functions of /tmp/perf-PID.map */
    size_t njit;
};
void pf_names(struct pf_names *out, const struct pf *p, bool symbols);
/* The frames of one sample; the caller frees `at`. */
struct pf_stack pf_stack_of(const struct pf_names *names,
                            const struct pf_sample *sample);

/* hakctl_profile_known.c */
const char *pf_demangle(const char *name); /* as pf_keep */
/* Is the function one that only passes requests on to malloc? */
bool pf_is_wrapper(const char *function);
/* Is the function part of how every program or thread starts, or of the inner
 * workings of a standard library? */
bool pf_is_plumbing(const char *function);
/* Why a block that is left at exit is known to be harmless; NULL: it is not. */
const char *pf_known_leak(const struct pf_stack *stack);

/* ---- rows ---------------------------------------------------------------- */

enum pf_view {
    PF_IN_USE,
    PF_PEAK,
    PF_LEAKS,
    PF_ALLOCATED,
    PF_OVERHEAD,
    PF_LIFETIMES,
};
enum { PF_AGES = 7 }; /* lifetimes that are told apart */
extern const char *const pf_ages[PF_AGES];

struct pf_values {
    double bytes, objects;
    double slot, page;     /* PF_OVERHEAD: what the blocks hold besides */
    double freed[PF_AGES]; /* PF_LIFETIMES: by lifetime */
    double variance_kib2;  /* of bytes */
};

struct pf_row {
    struct pf_stack stack;
    struct pf_values v;
    const char *thread, *box;
    int64_t slot_bytes; /* 0 = not known */
};

struct pf_options {
    const char *file, *other;
    enum pf_view view;
    bool view_given, objects, symbols, wrappers;
    const char *focus_text; /* NULL = none */
    regex_t focus;
    size_t top; /* 0 = not given */
};

struct pf_rows {
    const struct pf_options *options;
    struct pf_row *at;
    size_t n;
    struct pf_values total; /* of the rows */
    struct pf_values all;   /* with those that --focus leaves out */
    struct pf_values first; /* of options->file alone */
    bool has_variance;
    const char *objects_unit; /* of values that are neither; NULL = usual */
    struct pf_known {
        double bytes, objects;
    } known; /* left out by pf_known_leak */
};

/* Add the samples of a profile, times sign. Returns false, after a message:
 * the profile has no values of that view. */
bool pf_rows_add(struct pf_rows *rows, const struct pf *p,
                 const struct pf_names *names, const char *file, int sign);
/* The value that the view sorts by. */
double pf_main(const struct pf_options *o, const struct pf_values *v);
void pf_values_add(struct pf_values *to, const struct pf_values *more);
const char *pf_view_name(enum pf_view view);
/* The sum of all values of a type; 0: the profile has no such type. */
double pf_sum(const struct pf *p, const char *type);

/* ---- groups -------------------------------------------------------------- */

enum pf_by { PF_STACK, PF_FUNCTION, PF_THREAD, PF_BOX, PF_LIBRARY };

struct pf_group {
    const char *name, *library;
    const struct pf_row *row;   /* PF_STACK: one of its rows */
    struct pf_values self, cum; /* cum: with what its callees asked for */
    size_t last_row;            /* that was added to cum, + 1 */
};
struct pf_groups {
    enum pf_by by;
    struct pf_group *at; /* largest first */
    size_t n;
};
void pf_group(struct pf_groups *out, const struct pf_rows *rows, enum pf_by by);

/* ---- output -------------------------------------------------------------- */

/* hakctl_profile_format.c */
/* Format bytes with a binary unit, "12.3M"; with "+" in front if sign. */
const char *pf_bytes(char out[32], double bytes, bool sign);
/* The same in words: "12.3 MiB". */
const char *pf_bytes_long(char out[32], double bytes);
/* Format what pf_main gives: bytes, or a count. */
const char *pf_value(char out[32], const struct pf_rows *rows, double value);
/* value as a share of the total, "12.3%"; "" in a difference. */
const char *pf_share(char out[32], const struct pf_rows *rows, double value);
/* Half the width of the 95 % confidence interval of bytes. */
double pf_confidence(const struct pf_values *v);
/* Are these values estimates of which the error is known? */
bool pf_has_confidence(const struct pf_rows *rows);
/* Print a text and a newline, the text cut to what is left of the terminal's
 * line behind so many columns. */
void pf_print_rest(size_t used, const char *text);
/* "function file.c:12", "function (library)"; the caller frees it. */
char *pf_frame_text(const struct pf_frame *f);
/* The program whose own functions are shown without "(library)". */
void pf_frame_program(const char *program);

/* hakctl_profile_print.c */
void pf_print_header(const struct pf_rows *rows, const struct pf *p);
/* Print the `top` largest groups; 0: all. */
void pf_print_groups(const struct pf_rows *rows, const struct pf_groups *g,
                     size_t top);
/* Print the stacks in full. */
void pf_print_stacks(const struct pf_rows *rows, const struct pf_groups *g,
                     size_t top);
void pf_print_collapsed(const struct pf_rows *rows);

/* hakctl_profile_tree.c */
/* Print it with at most so many lines; 0: all. */
void pf_print_tree(const struct pf_rows *rows, size_t top);

/* hakctl_profile_json.c */
void pf_print_json(const struct pf_rows *rows, const struct pf *p,
                   const struct pf_groups *groups, size_t top);

#endif
