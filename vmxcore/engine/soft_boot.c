/* SPDX-License-Identifier: MIT */
/* From image files to a VM that is ready to run. */
#include "engine/soft.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files --------------------------------------------------------------------------------- */

static int read_whole(int fd, uint8_t *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* it became shorter */
		done += (size_t)n;
	}
	return 0;
}

static int read_blob(struct soft *s, struct soft_vm *vm, int fd, enum engine_field field,
		     uint32_t index, struct soft_blob *ret, struct soft_reply *reply)
{
	struct stat st;
	uint8_t *data;
	int err;

	reply->error.index = index;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return soft_fail(reply, -EINVAL, field, 0, "not a regular file");
	if (st.st_size <= 0)
		return soft_fail(reply, -EINVAL, field, 0, "the file is empty");
	if ((uint64_t)st.st_size > ENGINE_MAX_IMAGE)
		return soft_fail(reply, -EFBIG, field, ENGINE_MAX_IMAGE,
				 "the file has %" PRIu64 " bytes; at most %" PRIu64 " are loaded",
				 (uint64_t)st.st_size, ENGINE_MAX_IMAGE);
	if ((uint64_t)st.st_size > s->cfg.memory_bytes - s->memory_used)
		return soft_fail(reply, -ENOMEM, field, s->cfg.memory_bytes - s->memory_used,
				 "no memory left to keep the file's %" PRIu64 " bytes",
				 (uint64_t)st.st_size);
	data = malloc((size_t)st.st_size);
	if (!data)
		return -ENOMEM;
	err = read_whole(fd, data, (size_t)st.st_size);
	if (err) {
		free(data);
		return soft_fail(reply, err, field, 0, "reading the file failed: %s",
				 strerrordesc_np(-err));
	}
	*ret = (struct soft_blob){data, (size_t)st.st_size};
	vm->blob_bytes += ret->size;
	s->memory_used += ret->size;
	reply->error.index = 0;
	return 0;
}

int soft_boot_read(struct soft *s, struct soft_vm *vm, const struct queue_request *rq,
		   struct soft_reply *reply)
{
	uint32_t i;
	int err;

	if (!vm->config.has_image)
		return 0;
	err = read_blob(s, vm, rq->fds[0], ENGINE_FIELD_IMAGE, 0, &vm->image, reply);
	for (i = 0; i < vm->config.modules && !err; i++)
		err = read_blob(s, vm, rq->fds[1 + i], ENGINE_FIELD_MODULE, i, &vm->module[i],
				reply);
	return err;
}

/* --- loading --------------------------------------------------------------------------------- */

static const enum engine_field fields[] = {
	[LOADER_FIELD_NONE] = ENGINE_FIELD_NONE,
	[LOADER_FIELD_IMAGE] = ENGINE_FIELD_IMAGE,
	[LOADER_FIELD_MODULE] = ENGINE_FIELD_MODULE,
	[LOADER_FIELD_CMDLINE] = ENGINE_FIELD_CMDLINE,
	[LOADER_FIELD_LOAD_GPA] = ENGINE_FIELD_LOAD_GPA,
	[LOADER_FIELD_MEMORY] = ENGINE_FIELD_MEMORY,
};

static const enum loader_format formats[] = {
	[ENGINE_IMAGE_AUTO] = LOADER_AUTO,
	[ENGINE_IMAGE_MULTIBOOT] = LOADER_MULTIBOOT,
	[ENGINE_IMAGE_ELF64] = LOADER_ELF64,
	[ENGINE_IMAGE_FLAT] = LOADER_FLAT,
};

struct ram {
	struct soft *s;
	struct soft_slot *slot;
};

static int write_ram(void *ctx, uint64_t at, const void *buf, size_t len)
{
	struct ram *ram = ctx;

	return plat_mem_write(ram->s->plat, ram->slot->core.mem, at, buf, len);
}

int soft_boot_load(struct soft *s, struct soft_vm *vm, struct soft_reply *reply)
{
	struct ram ram = {s, vm->slots[0]};
	struct loader_request req = {
		.format = formats[vm->config.image_format],
		.image = {vm->image.data, vm->image.size},
		.modules = vm->config.modules,
		.cmdline = vm->config.cmdline[0] ? vm->config.cmdline : NULL,
		.load_gpa = vm->config.load_gpa,
		.ram_bytes = vm->config.memory_bytes,
		.vcpus = vm->config.vcpus,
		.write = write_ram,
		.ctx = &ram,
	};
	struct loader_error e;
	uint32_t i;
	int err;

	for (i = 0; i < vm->config.modules; i++)
		req.module[i] = (struct loader_blob){vm->module[i].data, vm->module[i].size};
	err = loader_load(&req, &vm->start, &e);
	if (err) {
		reply->error.index = e.index;
		return soft_fail(reply, err, fields[e.field], e.limit, "%s", e.text);
	}
	return 0;
}

/* --- vCPUs --------------------------------------------------------------------------------- */

/* "Guest Non-Register State" */
#define ACTIVITY_WAIT_FOR_SIPI 3u

static void keep_stats(struct soft_vcpu *v)
{
	const struct core_stats *stats = core_vcpu_stats(v->core);
	uint32_t i;

	for (i = 0; i < CORE_STAT_COUNT; i++)
		v->past.v[i] += core_stat_get(stats, i);
	for (i = 0; i < VMX_EXIT_REASONS; i++)
		v->past_exits[i] += core_vcpu_exit_count(v->core, i);
}

/*
 * A vCPU that begins anew has nothing of its former life: no event on its way, and no
 * translation (its tag is a fresh one). Its counters go on.
 */
static int renew(struct soft *s, struct soft_vcpu *v)
{
	struct core_vcpu *fresh;
	int err = core_vcpu_create(v->vm->core, v->index, &fresh);

	if (err)
		return err;
	keep_stats(v);
	soft_vcpu_destroy(s, v->core);
	v->core = fresh;
	return 0;
}

static void first_regs(const struct loader_start *start, struct core_regs *r)
{
	if (start->mode == LOADER_MODE_LONG)
		core_regs_long_mode(r, start->entry, start->cr3, start->rsp);
	else
		core_regs_protected_flat(r, (uint32_t)start->entry);
	r->gp.r[HW_RAX] = start->rax;
	r->gp.r[HW_RBX] = start->rbx;
	r->gp.r[HW_RDI] = start->rdi;
}

int soft_boot_vcpus(struct soft *s, struct soft_vm *vm, struct soft_reply *reply)
{
	uint32_t i;
	int err;

	for (i = 0; i < vm->vcpu_count; i++) {
		struct soft_vcpu *v = &vm->vcpus[i];
		const char *field = "";
		struct core_regs r;

		if (vm->has_run) {
			err = renew(s, v);
			if (err)
				return err;
		}
		core_regs_reset(&r);
		if (i == 0)
			first_regs(&vm->start, &r);
		else
			r.activity = ACTIVITY_WAIT_FOR_SIPI;
		err = core_vcpu_set_regs(v->core, &r, &field);
		if (err)
			return soft_fail(reply, err, ENGINE_FIELD_IMAGE, 0,
					 "vcpu %u: the first state is refused: %s", i, field);
		v->run = i ? SOFT_VCPU_WAIT_SIPI : SOFT_VCPU_READY;
	}
	return 0;
}
