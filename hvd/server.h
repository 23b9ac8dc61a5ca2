/* SPDX-License-Identifier: MIT */
/* The socket, its clients, and the order of their requests and replies. */
#ifndef HVD_SERVER_H
#define HVD_SERVER_H

#include "hvd/hvd.h"

/*
 * Takes the path: a stale socket is replaced, a live one refused (-EADDRINUSE), as is
 * anything that is no socket (-EEXIST). What went wrong has been logged.
 */
int server_start(struct hvd *h);
unsigned server_connections(const struct hvd *h);
/* The rules have changed: the roles of those that are connected, for their next requests. */
void server_identify_again(struct hvd *h);
/* No more requests, and no new clients; removes the socket. */
void server_quiesce(struct hvd *h);
/* Sends what can be sent at once, and closes the connections. */
void server_stop(struct hvd *h);

#endif
