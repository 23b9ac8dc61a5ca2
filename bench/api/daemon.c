// SPDX-License-Identifier: MIT
/* Daemons and echo servers: started, looked at from /proc, and ended by process id. */
#include "api.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO_CLIENTS 256
#define START_S 30

static void make_place(struct server *s)
{
	snprintf(s->dir, sizeof(s->dir), "/tmp/hvd-bench-XXXXXX");
	if (!mkdtemp(s->dir))
		die("mkdtemp: %s", strerror(errno));
	snprintf(s->socket, sizeof(s->socket), "%s/sock", s->dir);
}

static int try_connect(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void wait_until_it_listens(const struct server *s)
{
	for (unsigned i = 0; i < START_S * 100; i++) {
		const int fd = try_connect(s->socket);

		if (fd >= 0) {
			close(fd);
			return;
		}
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
			die("the server ended at once");
		usleep(10000);
	}
	die("the server does not listen");
}

/* In the child; it ends when its parent does. */
static void become_server(const struct bench *b, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(1);
	pin(b->daemon_processor);
}

void server_start(const struct bench *b, struct server *s, const char *memory)
{
	const pid_t parent = getpid();
	char log[96];

	make_place(s);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	s->pid = fork();
	if (s->pid < 0)
		die("fork: %s", strerror(errno));
	if (!s->pid) {
		const int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		become_server(b, parent);
		if (fd >= 0) {
			dup2(fd, STDOUT_FILENO);
			dup2(fd, STDERR_FILENO);
		}
		execl(b->hvd, "hvd", "--socket", s->socket, "--engine", "soft", "--processors", "1",
		      "--connections", "256", memory ? "--memory" : NULL, memory, NULL);
		_exit(127);
	}
	wait_until_it_listens(s);
}

/* --- the peer: lines in, lines of a fixed size out ------------------------------------------- */

static void echo_some(int fd, const char *reply, size_t reply_bytes)
{
	static char in[1 << 16], out[1 << 18];
	const ssize_t n = read(fd, in, sizeof(in));
	size_t filled = 0;

	if (n <= 0) {
		close(fd);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (in[i] != '\n')
			continue;
		memcpy(out + filled, reply, reply_bytes);
		filled += reply_bytes;
		if (filled + reply_bytes > sizeof(out) || i + 1 == n) {
			if (write(fd, out, filled) != (ssize_t)filled)
				_exit(1);
			filled = 0;
		}
	}
	if (filled && write(fd, out, filled) != (ssize_t)filled)
		_exit(1);
}

__attribute__((noreturn)) static void echo_main(int listener, size_t reply_bytes)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener}, ready[64];
	const int ep = epoll_create1(EPOLL_CLOEXEC);
	char *reply = need(1, reply_bytes);

	memset(reply, 'x', reply_bytes);
	memcpy(reply, "\"result\"", 8);
	reply[reply_bytes - 1] = '\n';
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		const int n = epoll_wait(ep, ready, 64, -1);

		for (int i = 0; i < n; i++) {
			if (ready[i].data.fd != listener) {
				echo_some(ready[i].data.fd, reply, reply_bytes);
				continue;
			}
			ev.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			if (ev.data.fd >= 0)
				epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
		}
	}
}

void server_start_echo(const struct bench *b, struct server *s, size_t reply_bytes)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const pid_t parent = getpid();

	if (reply_bytes < 16 || reply_bytes > 1 << 16)
		die("a reply of %zu bytes", reply_bytes);
	make_place(s);
	memcpy(addr.sun_path, s->socket, strlen(s->socket) + 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, ECHO_CLIENTS) < 0)
		die("%s: %s", s->socket, strerror(errno));
	s->pid = fork();
	if (s->pid < 0)
		die("fork: %s", strerror(errno));
	if (!s->pid) {
		become_server(b, parent);
		echo_main(fd, reply_bytes);
	}
	close(fd);
}

void server_stop(struct server *s)
{
	char log[96];

	kill(s->pid, SIGTERM);
	waitpid(s->pid, NULL, 0);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	unlink(log);
	unlink(s->socket);
	rmdir(s->dir);
}

/* --- what /proc says -----------------------------------------------------------------------------
 */

uint64_t server_cpu_ns(const struct server *s)
{
	char path[64];
	uint64_t sum = 0;
	struct dirent *e;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)s->pid);
	tasks = opendir(path);
	if (!tasks)
		die("%s: %s", path, strerror(errno));
	while ((e = readdir(tasks))) {
		char file[512];
		uint64_t ns = 0;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s/schedstat", path, e->d_name);
		f = fopen(file, "re");
		if (f && fscanf(f, "%" SCNu64, &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return sum;
}

struct memory_use server_memory(const struct server *s)
{
	struct memory_use use = {0};
	char path[64], line[256];
	uint64_t kib;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)s->pid);
	f = fopen(path, "re");
	if (!f)
		die("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Rss: %" SCNu64, &kib) == 1)
			use.rss_bytes += kib << 10;
		else if (sscanf(line, "Private_Clean: %" SCNu64, &kib) == 1 ||
			 sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
			use.private_bytes += kib << 10;
	}
	fclose(f);
	return use;
}
