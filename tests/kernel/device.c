/* SPDX-License-Identifier: MIT */
/* Descriptors: linux/fs.h, linux/anon_inodes.h, linux/miscdevice.h, linux/sched.h; fakedev.h. */
#include "kernel/fakedev.h"

#include <linux/anon_inodes.h>
#include <linux/miscdevice.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev.h"
#include "kernel/memory.h"
#include "kernel/processors.h"

#define FILES_MAX 4096

/* By descriptor; each is a real one, too, so that no other has its number. */
static struct {
	pthread_mutex_t lock;
	struct file *file[FILES_MAX];
	unsigned int open;
	const struct miscdevice *device;
} files = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- files ------------------------------------------------------------------------------------ */

static struct file *file_get(int fd)
{
	struct file *f = NULL;

	pthread_mutex_lock(&files.lock);
	if (fd >= 0 && fd < FILES_MAX)
		f = files.file[fd];
	if (f)
		f->users++;
	pthread_mutex_unlock(&files.lock);
	return f;
}

static void file_put(struct file *f)
{
	bool last;

	pthread_mutex_lock(&files.lock);
	last = --f->users == 0;
	pthread_mutex_unlock(&files.lock);
	if (!last)
		return;
	if (f->f_op->release)
		f->f_op->release(NULL, f);
	kfree(f);
}

int anon_inode_getfd(const char *name, const struct file_operations *ops, void *private_data,
		     int flags)
{
	struct file *f;
	int fd;

	if (!name || (flags & ~(O_RDWR | O_CLOEXEC)))
		kernel_bug("a descriptor with flags %#x", (unsigned)flags);
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0 || fd >= FILES_MAX) {
		if (fd >= 0)
			close(fd);
		kfree(f);
		return -EMFILE;
	}
	*f = (struct file){.f_op = ops,
			   .private_data = private_data,
			   .f_flags = (unsigned int)flags,
			   .users = 1};
	pthread_mutex_lock(&files.lock);
	files.file[fd] = f;
	files.open++;
	pthread_mutex_unlock(&files.lock);
	return fd;
}

long compat_ptr_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return file->f_op->unlocked_ioctl(file, cmd, (uint32_t)arg);
}

long long noop_llseek(struct file *file, long long offset, int whence)
{
	(void)file;
	(void)offset;
	(void)whence;
	return 0;
}

/* --- the device ----------------------------------------------------------------------------- */

int misc_register(struct miscdevice *device)
{
	if (files.device || device->minor != MISC_DYNAMIC_MINOR || device->mode != 0600)
		kernel_bug("misc_register() of %s", device->name);
	files.device = device;
	return 0;
}

void misc_deregister(struct miscdevice *device)
{
	if (files.device != device)
		kernel_bug("misc_deregister() of %s", device->name);
	files.device = NULL;
}

/* --- processes ---------------------------------------------------------------------------------
 */

static struct mm_struct first_mm = {.holders = 1};
static struct mm_struct *process_mm = &first_mm;

const struct task_struct *kernel_current(void)
{
	static _Thread_local struct task_struct task;

	task.mm = __atomic_load_n(&process_mm, __ATOMIC_RELAXED);
	return &task;
}

void mmgrab(struct mm_struct *mm)
{
	__atomic_fetch_add(&mm->holders, 1, __ATOMIC_RELAXED);
}

void mmdrop(struct mm_struct *mm)
{
	if (__atomic_fetch_sub(&mm->holders, 1, __ATOMIC_ACQ_REL) == 0)
		kernel_bug("mmdrop() of what has gone");
}

static void before_fork(void)
{
	pthread_mutex_lock(&files.lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&files.lock);
}

/* A child has other memory, though its content is a copy. */
static void in_child(void)
{
	static struct mm_struct child_mm = {.holders = 1};

	__atomic_store_n(&process_mm, &child_mm, __ATOMIC_RELAXED);
	memory_of_process();
	pthread_mutex_unlock(&files.lock);
}

static bool dying;

void fakedev_dying(bool is_dying)
{
	__atomic_store_n(&dying, is_dying, __ATOMIC_RELAXED);
}

int fatal_signal_pending(const struct task_struct *task)
{
	(void)task;
	return __atomic_load_n(&dying, __ATOMIC_RELAXED);
}

/* --- fakedev.h -----------------------------------------------------------------------------------
 */

static void load(void)
{
	memory_of_process();
	if (pthread_atfork(before_fork, after_fork, in_child) != 0 || dev_init() != 0)
		kernel_bug("the device can't be made");
}

int fakedev_open(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int fd;

	pthread_once(&once, load);
	fd = anon_inode_getfd(files.device->name, files.device->fops, NULL, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	errno = -fd;
	return -1;
}

int fakedev_ioctl(int fd, unsigned long request, void *arg)
{
	struct file *f = file_get(fd);
	long r;

	if (!f) {
		errno = EBADF;
		return -1;
	}
	r = f->f_op->unlocked_ioctl(f, (unsigned int)request, (unsigned long)arg);
	file_put(f);
	if (processor_mine() >= 0)
		kernel_bug("ioctl %#lx returns on processor %d", request, processor_mine());
	may_sleep("the return of an ioctl");
	if (r >= 0)
		return (int)r;
	if (r < -KERNEL_ERRNO_MAX)
		kernel_bug("ioctl %#lx returns %ld", request, r);
	errno = (int)-r;
	return -1;
}

int fakedev_close(int fd)
{
	struct file *f = NULL;

	pthread_mutex_lock(&files.lock);
	if (fd >= 0 && fd < FILES_MAX && files.file[fd]) {
		f = files.file[fd];
		files.file[fd] = NULL;
		files.open--;
	}
	pthread_mutex_unlock(&files.lock);
	if (!f) {
		errno = EBADF;
		return -1;
	}
	close(fd);
	file_put(f);
	return 0;
}

unsigned int fakedev_descriptors(void)
{
	unsigned int n;

	pthread_mutex_lock(&files.lock);
	n = files.open;
	pthread_mutex_unlock(&files.lock);
	return n;
}
