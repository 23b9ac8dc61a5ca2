/* SPDX-License-Identifier: MIT */
/* What systemd is told, and what it hands over. Outside of systemd, all of it does nothing. */
#ifndef HVD_SERVICE_H
#define HVD_SERVICE_H

#include "hvd/hvd.h"

struct service;

/*
 * The socket that systemd listens on for us: its descriptor, and its path, which the caller
 * frees. 0: there is none. -EINVAL: what came is not one Unix stream socket that listens;
 * the log says so.
 */
int service_take_socket(char **ret_path);
/* Ready; from now on the watchdog is served by h's loop, and the status is kept up to date. */
int service_start(struct hvd *h, struct service **ret);
void service_stop(struct service *s); /* NULL is allowed */
/* Definitions are being read, before service_start(): as long as they are, there is time. */
void service_loading(size_t done, size_t total);
/* Around a reload. */
void service_reloading(void);
void service_reloaded(void);
void service_stopping(void);

#endif
