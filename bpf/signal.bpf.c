// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Signals that one user sends to another's process, or anybody to the sensor. Part of the
 * security monitor; a hook of its own, because the call has only a number of the target.
 */
#include "common.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#if defined(__TARGET_ARCH_x86)
/* kill, rt_sigqueueinfo, tkill, tgkill, rt_tgsigqueueinfo, pidfd_send_signal. */
static __always_inline bool call__signals(__u32 nr, bool compat)
{
	if (compat)
		return nr == 37 || nr == 178 || nr == 238 || nr == 270 || nr == 335 || nr == 424;
	return nr == 62 || nr == 129 || nr == 200 || nr == 234 || nr == 297 || nr == 424;
}
#elif defined(__TARGET_ARCH_arm64)
static __always_inline bool call__signals(__u32 nr, bool compat)
{
	if (compat)
		return nr == 37 || nr == 178 || nr == 238 || nr == 268 || nr == 363 || nr == 424;
	return nr == 129 || nr == 138 || nr == 130 || nr == 131 || nr == 240 || nr == 424;
}
#endif

/*
 * In __send_signal_locked, for every signal of every origin. Who sends it is the current task only
 * inside of a call that sends signals: elsewhere it is a timer, a fault, or the kernel.
 * What a caller claims in siginfo is not looked at. A signal that was refused never comes here.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(handle__signal_generate, int signal, struct kernel_siginfo *info, struct task_struct *target,
	     int group, int result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct cpu_state *s = cpu_state();
	struct scratch *record;
	struct ravn_act *out;
	__u32 nr = 0;
	bool compat = false;

#if defined(__TARGET_ARCH_x86)
	nr = ((struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;
	compat = task->thread_info.status & TS_COMPAT;
#elif defined(__TARGET_ARCH_arm64)
	nr = ((struct pt_regs *)bpf_task_pt_regs(task))->syscallno;
	compat = task->thread_info.flags & TIF_32BIT;
#endif
	if (!call__signals(nr, compat))
		return 0;
	if (task->cred->uid.val == target->real_cred->uid.val && !task__sensor(target))
		return 0;
	if (!s)
		return 0;
	s->hits[HOOK_SIGNAL]++;
	if (!task__wanted(task) || !cpu__enter(s, STREAM_SECURITY))
		return 0;
	record = record__begin(s, task, KIND_KILL, STREAM_SECURITY);
	if (record) {
		out = (struct ravn_act *)record->body;
		__builtin_memset(out, 0, sizeof(*out));
		out->numbers[0] = (__u32)signal;
		out->numbers[1] = (__u32)result;
		out->syscall = compat ? 0xffff : nr;
		target__fill(&out->target, target);
		security__submit(s, record, sizeof(*out));
	}
	cpu__leave(s);
	return 0;
}
