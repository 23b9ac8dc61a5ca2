// SPDX-License-Identifier: MIT
#include "hvctl/progress.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hvctl/fields.h"
#include "hvctl/text.h"
#include "hvctl/verb.h"

#define COLUMNS 80 /* of a terminal that does not tell */
#define BAR_MAX 40
#define BAR_MIN 8

static unsigned columns_of(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return COLUMNS;
	return size.ws_col < TEXT_WIDTH ? size.ws_col : TEXT_WIDTH;
}

static void draw_bar(char *bar, size_t width, unsigned percent)
{
	size_t filled = width * percent / 100;

	memset(bar, ' ', width);
	memset(bar, '=', filled);
	if (filled < width)
		bar[filled] = '>';
	bar[width] = 0;
}

void progress_line(char *buf, size_t size, unsigned columns, const char *what, uint64_t done,
		   uint64_t total, uint64_t elapsed_ms)
{
	double part = total ? (double)done / (double)total : 0;
	unsigned percent = part >= 1 ? 100 : (unsigned)(part * 100);
	char a[TEXT_NUMBER], b[TEXT_NUMBER], rate[TEXT_NUMBER], bar[BAR_MAX + 1] = "", right[160];
	double per_second = elapsed_ms ? (double)done * 1000 / (double)elapsed_ms : 0;
	size_t rest, width;

	snprintf(right, sizeof(right), "%3u %%  %s of %s  %s/s", percent, text_about(a, done),
		 text_about(b, total),
		 text_about(rate, per_second < 1e18 ? (uint64_t)per_second : 0));
	rest = strlen(what) + strlen(right) + 6; /* blanks and brackets */
	width = columns > rest ? columns - rest : 0;
	width = width > BAR_MAX ? BAR_MAX : width;
	if (width < BAR_MIN) {
		snprintf(buf, size, "%.*s", (int)columns, right);
		return;
	}
	draw_bar(bar, width, percent);
	snprintf(buf, size, "%s  [%s]  %s", what, bar, right);
}

void progress_begin(struct progress *p, const char *what)
{
	p->what = what;
	p->started_ms = hvctl_now_ms();
	p->shown = false;
}

void progress_notify(void *arg, const char *name, struct json_object *params)
{
	struct progress *p = arg;
	uint64_t elapsed_ms = hvctl_now_ms() - p->started_ms;
	char line[TEXT_WIDTH + 1];

	if (!p->what || strcmp(name, "progress") != 0 || elapsed_ms < PROGRESS_AFTER_MS)
		return;
	/* not the last column: some terminals begin a new line there */
	progress_line(line, sizeof(line), columns_of(p->out) - 1, p->what,
		      field_count(params, "done"), field_count(params, "total"), elapsed_ms);
	fprintf(p->out, "\r%s\033[K", line);
	fflush(p->out);
	p->shown = true;
}

void progress_end(struct progress *p)
{
	if (!p)
		return;
	p->what = NULL;
	if (!p->shown)
		return;
	fputs("\r\033[K", p->out);
	fflush(p->out);
	p->shown = false;
}
