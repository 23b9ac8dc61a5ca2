// SPDX-License-Identifier: MIT
#include "hvd/service.h"
#include "hvd/log.h"
#include "hvd/registry.h"
#include "hvd/server.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define STATUS_MS 2000	/* between looks whether the status has changed */
#define LOADING_MS 1000 /* between two words on how far it is */
#define EXTEND_MS 30000 /* ... after which systemd may lose its patience */

struct service {
	struct hvd *hvd;
	struct event *watchdog, *status;
	char said[128]; /* the status */
};

/* --- the socket ----------------------------------------------------------------------- */

static char *path_of(int fd)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0 || !addr.sun_path[0])
		return strdup("(abstract or unnamed)");
	return strndup(addr.sun_path, sizeof(addr.sun_path));
}

int service_take_socket(char **ret_path)
{
	const int n = sd_listen_fds(1);
	char *path;

	if (!n)
		return 0;
	if (n < 0) {
		log_error("the descriptors of systemd can't be taken: %s", strerror(-n));
		return n;
	}
	if (n != 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0) {
		log_error("systemd handed over %d descriptors; one Unix stream socket that "
			  "listens is needed (ListenStream= of hvd.socket)",
			  n);
		return -EINVAL;
	}
	path = path_of(SD_LISTEN_FDS_START);
	if (!path)
		return -ENOMEM;
	*ret_path = path;
	return SD_LISTEN_FDS_START;
}

/* --- status and watchdog ------------------------------------------------------------------ */

static struct timeval interval(uint64_t us)
{
	return (struct timeval){.tv_sec = (time_t)(us / 1000000),
				.tv_usec = (suseconds_t)(us % 1000000)};
}

static void say_status(struct service *s, const char *before)
{
	char text[sizeof(s->said)];
	int n;

	n = snprintf(text, sizeof(text), "Engine %s; %zu VMs, %u clients", s->hvd->engine_info.name,
		     registry_count(s->hvd->registry), server_connections(s->hvd));
	if (s->hvd->defined || s->hvd->damaged)
		snprintf(text + n, sizeof(text) - (size_t)n, "; %u VMs were defined, %u set aside",
			 s->hvd->defined, s->hvd->damaged);
	if (!*before && !strcmp(text, s->said))
		return;
	memcpy(s->said, text, sizeof(text));
	sd_notifyf(0, "%sSTATUS=%s", before, text);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	say_status(arg, "");
}

/* From the loop: a loop that hangs is what the watchdog is to notice. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	sd_notify(0, "WATCHDOG=1");
}

static int repeat(struct hvd *h, uint64_t us, event_callback_fn fn, struct service *s,
		  struct event **ret)
{
	const struct timeval t = interval(us);

	*ret = event_new(h->base, -1, EV_PERSIST, fn, s);
	return !*ret || event_add(*ret, &t) ? -ENOMEM : 0;
}

int service_start(struct hvd *h, struct service **ret)
{
	struct service *s = calloc(1, sizeof(*s));
	uint64_t watchdog_us;
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->hvd = h;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		r = repeat(h, watchdog_us / 2, on_watchdog, s, &s->watchdog);
	if (!r && getenv("NOTIFY_SOCKET"))
		r = repeat(h, STATUS_MS * 1000, on_status, s, &s->status);
	if (r) {
		service_stop(s);
		return r;
	}
	say_status(s, "READY=1\n");
	*ret = s;
	return 0;
}

void service_stop(struct service *s)
{
	if (s && s->watchdog)
		event_free(s->watchdog);
	if (s && s->status)
		event_free(s->status);
	free(s);
}

void service_loading(size_t done, size_t total)
{
	static uint64_t said_ms;
	const uint64_t now_ms = hvd_now_ms();

	if (said_ms && now_ms - said_ms < LOADING_MS)
		return;
	said_ms = now_ms;
	sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d\nSTATUS=Reading definitions: %zu of %zu",
		   EXTEND_MS * 1000, done, total);
}

void service_reloading(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		   (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
}

void service_reloaded(void)
{
	sd_notify(0, "READY=1");
}

void service_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}
