/* SPDX-License-Identifier: MIT
 * test_control.c - module control: words, settings, replies, its socket, and
 * its server beside a host of the test.
 */
#include "test.h"

#include <conf/conf.h>
#include <modules/control/control.h>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- words ---- */

static char *words[CONTROL_WORDS];
static char why[256];

static int split(const char *text)
{
    static char line[CONTROL_LINE_BYTES + 2];
    memcpy(line, text, strlen(text));
    return hak_control_split(line, strlen(text), words, why, sizeof why);
}

TEST(blanks_part_words)
{
    EXPECT_EQ(split(""), 0);
    EXPECT_EQ(split(" \t "), 0);
    EXPECT_EQ(split("\r"), 0);
    EXPECT_EQ(split("  set\ta=1   b=2 \r"), 3);
    EXPECT_STR(words[0], "set");
    EXPECT_STR(words[1], "a=1");
    EXPECT_STR(words[2], "b=2");
}

TEST(quotes_keep_blanks)
{
    EXPECT_EQ(split("\"box ultra.warm=1\" a\" \"b \"\" \"\\\"\\\\\\n\""), 4);
    EXPECT_STR(words[0], "box ultra.warm=1");
    EXPECT_STR(words[1], "a b");
    EXPECT_STR(words[2], "");
    EXPECT_STR(words[3], "\"\\\\n");
    EXPECT_EQ(split("C:\\x"), 1);
    EXPECT_STR(words[0], "C:\\x");
}

TEST(what_is_no_request)
{
    EXPECT_EQ(split("a \"b"), -EINVAL);
    EXPECT(strstr(why, "is not closed") != NULL);
    EXPECT_EQ(split("a\x1b"), -EINVAL);
    EXPECT_STR(why, "byte 0x1b at 1: a request is a line of text; help lists "
                    "the requests");
    char many[4 * CONTROL_WORDS] = "";
    for (int i = 0; i < CONTROL_WORDS; i++)
        strcat(many, "x ");
    EXPECT_EQ(split(many), CONTROL_WORDS);
    strcat(many, "x");
    EXPECT_EQ(split(many), -EINVAL);
}

static struct hak_control_setting setting;

static int set(const char *text)
{
    static char word[128];
    strcpy(word, text);
    return hak_control_setting(word, &setting, why, sizeof why);
}

TEST(settings)
{
    EXPECT_EQ(set("purge_delay_ms=5"), 0);
    EXPECT_STR(setting.section, "core");
    EXPECT_STR(setting.key, "purge_delay_ms");
    EXPECT_STR(setting.value, "5");
    EXPECT_EQ(set("box:ultra.warm=a=b.c"), 0);
    EXPECT_STR(setting.section, "box ultra");
    EXPECT_STR(setting.key, "warm");
    EXPECT_STR(setting.value, "a=b.c");
    EXPECT_EQ(set("stats.at_exit="), 0);
    EXPECT_STR(setting.value, "");
    EXPECT_EQ(set("x"), -EINVAL);
    EXPECT_EQ(set("=x"), -EINVAL);
    EXPECT_EQ(set(".a=x"), -EINVAL);
    EXPECT_EQ(set("a.=x"), -EINVAL);
}

/* ---- replies ---- */

TEST(replies_grow)
{
    struct hak_control_reply r = {0};
    char part[1000];
    memset(part, 'x', sizeof part);
    part[sizeof part - 1] = 0;
    for (int i = 0; i < 1000; i++)
        hak_control_print(&r, "%s%d,", part, i % 10);
    EXPECT(!r.failed);
    EXPECT_EQ(r.used, 1000 * 1001);
    for (size_t i = 0; i < 1000; i++)
        EXPECT_EQ(r.bytes[i * 1001 + 999], (int)('0' + i % 10));
    hak_control_free(&r);
    EXPECT(r.bytes == NULL && r.used == 0);
}

TEST(a_reply_that_is_too_long_becomes_an_error)
{
    struct hak_control_reply r = {0};
    EXPECT(hak_control_room(&r, 1 << 20) != NULL);
    EXPECT(hak_control_room(&r, 1 << 30) == NULL);
    hak_control_print(&r, "more");
    hak_control_end(&r);
    const char *said =
        "{\"error\":\"no memory for the reply; ask again later\"}\n";
    EXPECT_EQ(r.used, strlen(said));
    EXPECT_EQ(memcmp(r.bytes, said, r.used), 0);
    hak_control_free(&r);
}

TEST(strings_of_JSON)
{
    struct hak_control_reply r = {0};
    hak_control_quote(&r, "a\"\\\n\x01\xc3\xa9\xff\xc0\xaf");
    hak_control_print(&r, "%s", "");
    EXPECT_STR(r.bytes, "\"a\\\"\\\\\\n\\u0001\xc3\xa9\\ufffd\\ufffd\\ufffd\"");
    hak_control_free(&r);
}

/* ---- the socket ---- */

static char folder[] = "/tmp/hakmem-test-XXXXXX";
static char path[128];

static void make_folder(void)
{
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/%%p.sock", folder);
}

static void remove_folder(const char *file)
{
    if (file != NULL)
        unlink(file);
    EXPECT_EQ(rmdir(folder), 0);
}

TEST(a_socket_and_its_file)
{
    struct hak_control_socket s, second;
    struct stat file;
    char wanted[128];
    make_folder();
    EXPECT_EQ(hak_control_listen(path, &s, why, sizeof why), 0);
    snprintf(wanted, sizeof wanted, "%s/%d.sock", folder, (int)getpid());
    EXPECT_STR(s.path, wanted);
    EXPECT_EQ(lstat(s.path, &file), 0);
    EXPECT_EQ(file.st_mode, S_IFSOCK | 0600);
    EXPECT_EQ(hak_control_listen(path, &second, why, sizeof why), -EADDRINUSE);
    close(s.fd);
    usleep(50000); /* so that the files differ in their time of birth */
    EXPECT_EQ(hak_control_listen(path, &second, why, sizeof why), 0);
    hak_control_remove(&s); /* another socket has its name now */
    EXPECT_EQ(lstat(second.path, &file), 0);
    hak_control_remove(&second);
    EXPECT_EQ(lstat(second.path, &file), -1);
    remove_folder(NULL);
}

/* ---- the server ---- */

static int host_box(uint32_t n, struct hak_box_now *out)
{
    *out = (struct hak_box_now){.name = "one", .state = "active"};
    return n == 0 ? 0 : -ENOENT;
}

static int64_t host_report(char *out, size_t out_bytes, bool json)
{
    static const size_t n = 200000;
    if (out_bytes <= n)
        return -ENOSPC;
    memset(out, 'r', n);
    out[0] = json ? '"' : 'r';
    out[n - 1] = json ? '"' : 'r';
    out[n] = 0;
    return (int64_t)n;
}

static int refuse_drain(const char *box, char *text, size_t n)
{
    snprintf(text, n, "there is no box %s", box);
    return -ENOENT;
}

static struct hak_conf conf;
static const struct hak_changes changes = {.drain = refuse_drain};
static const struct hak_module_host host = {
    .conf = &conf, .changes = &changes, .box = host_box, .report = host_report};
static struct hak_control_socket server;

static void lend_nothing(bool lend)
{
    (void)lend;
}

static void *serve(void *unused)
{
    const struct hak_control_self self = {&host, server.path, lend_nothing};
    hak_control_serve(&self, server.fd);
    return unused;
}

static int connect_to_server(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, server.path, sizeof a.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Read one line and return its length. */
static size_t read_line(int fd, char first[16])
{
    static __thread char bytes[4096];
    size_t length = 0;
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        EXPECT(n > 0);
        if (length == 0)
            memcpy(first, bytes, 15);
        length += (size_t)n;
        if (bytes[n - 1] == '\n')
            return length;
    }
}

static void expect_reply(int fd, const char *request, const char *start)
{
    char first[16] = "";
    size_t n = strlen(request);
    EXPECT_EQ(send(fd, request, n, MSG_NOSIGNAL), (ssize_t)n);
    size_t length = read_line(fd, first);
    EXPECT_EQ(memcmp(first, start, strlen(start)), 0);
    if (strncmp(request, "stats", 5) == 0)
        EXPECT(length > 200000);
}

static void *ask(void *unused)
{
    for (int i = 0; i < 5; i++) {
        int fd = connect_to_server();
        for (int k = 0; k < 5; k++) {
            expect_reply(fd, "info\n", "{\"ok\":{\"pid\":");
            expect_reply(fd, "stats\n", "{\"ok\":\"rrr");
            expect_reply(fd, "stats text\n", "{\"ok\":\"rrr");
            expect_reply(fd, "drain x\n", "{\"error\":");
            expect_reply(fd, "\n", "{\"error\":");
        }
        close(fd);
    }
    return unused;
}

TEST(many_clients_at_once)
{
    pthread_t thread, client[8];
    make_folder();
    EXPECT_EQ(hak_control_listen(path, &server, why, sizeof why), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, serve, NULL), 0);
    for (int i = 0; i < 8; i++)
        EXPECT_EQ(pthread_create(&client[i], NULL, ask, NULL), 0);
    for (int i = 0; i < 8; i++)
        EXPECT_EQ(pthread_join(client[i], NULL), 0);
    hak_control_remove(&server);
    remove_folder(NULL);
}

TEST_MAIN()
