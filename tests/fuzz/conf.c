/* SPDX-License-Identifier: MIT
 * conf.c - any bytes as an INI, a profile and an environment: every finding is
 * a text with a place, and what came of it is whole.
 */
#include "fuzz.h"
#include <conf/conf.h>
#include <hakmem/foreign.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

FUZZ_SEEDS("tests/conf", "conf", "conf/foreign", "tests/fuzz/seeds/conf");
FUZZ_WORDS("[box ", "[route ", "[policy]\n", "[profile p]\n", "[learner]\n",
           "[rule r]\n", "[call c]\n", "[core]\n", "[stats]\n", "]\n", " = ",
           "C0-C7", "0x60", "32769-", "1025-32k", "\n  ", "fallback = ",
           "enabled = ", "classes = ", "box ultra.lanes = ", "alloc = f(",
           "18446744073709551616", "-1", "when = share > 5%", "libc", "none", );

#define CHECK(what) ((what) ? (void)0 : abort())

static struct hak_conf conf;

static void tell(void *context, enum hak_diag_level level, const char *file,
                 int line, const char *text)
{
    CHECK(context == &conf);
    CHECK(level <= HAK_DIAG_NOTE);
    CHECK(file != NULL && line >= 0);
    CHECK(text[0] != 0 && strchr(text, '\n') == NULL);
}

static void check_whole(void)
{
    CHECK(conf.nboxes <= HAK_MAX_BOXES && conf.nroutes <= HAK_CONF_ROUTES);
    CHECK(conf.nrules <= HAK_CONF_RULES && conf.nentries <= HAK_CONF_ENTRIES);
    CHECK(conf.nsections <= HAK_CONF_SECTIONS);
    for (uint32_t i = 0; i < conf.nboxes; i++)
        CHECK(conf.box[i].name[0] != 0 && conf.box[i].origin.line > 0);
    for (uint32_t i = 0; i < conf.nroutes; i++) {
        CHECK(conf.route[i].nchain <= HAK_CONF_CHAIN);
        for (uint32_t k = 0; k < conf.route[i].nchain; k++)
            CHECK(conf.route[i].chain[k] < conf.nboxes);
    }
    for (uint32_t i = 0; i < conf.nrules; i++)
        CHECK(conf.rule[i].route < conf.nroutes &&
              conf.rule[i].first_index <= conf.rule[i].last_index &&
              conf.rule[i].last_index <= HAK_LANES);
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        CHECK(conf.index_rule[i] < (int)conf.nrules);
    for (uint32_t i = 0; i < conf.nentries; i++)
        CHECK(conf.entry[i].key[0] != 0 && conf.entry[i].value != NULL);
    CHECK(conf.learner.nrules <= HAK_CONF_LEARN_RULES);
    for (uint32_t i = 0; i < conf.learner.nrules; i++)
        CHECK(conf.learn_rule[i].route < conf.nroutes);
}

/* Every kind of parameter, read from each [box NAME]. */
static void check_params(void)
{
    static const struct hak_param params[] = {
        {.name = "a", .type = HAK_PARAM_BOOL, .help = ""},
        {.name = "b", .type = HAK_PARAM_SIZE, .max = 9, .help = ""},
        {.name = "alloc", .type = HAK_PARAM_CALL, .help = ""},
        {.name = "path", .type = HAK_PARAM_TEXT, .help = ""}};
    union hak_value values[4];
    for (uint32_t i = 0; i < conf.nboxes; i++)
        hak_conf_params(&conf, &conf.box[i], params, 4, values);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *const environment[] = {(char[]){"HAKMEM_CORE_VERIFY=yes"},
                                 (char[]){"HAKMEM_POLICY_C4=ultra"},
                                 (char[]){"HAKMEM_MID_V35_ENABLED=1"},
                                 (char[]){"HAKMEM_BOX_ULTRA_LANES=off"}, NULL};
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz.ini", MFD_CLOEXEC);
    hak_conf_parse_call = hak_call_parse;
    CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
    for (int plain = 0; plain < 2; plain++) {
        lseek(fd, 0, SEEK_SET);
        int error =
            hak_conf_read(&conf, "fuzz.ini", fd, plain ? NULL : environment,
                          plain ? NULL : "p", tell, &conf);
        CHECK((error != 0) == (conf.nerrors != 0));
        if (error == 0 || error == -22)
            check_whole();
        if (error == 0)
            check_params();
    }
    return 0;
}
