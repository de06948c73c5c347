//! The vocabulary as text: names apart by blanks, in the order of their ids. Append only.

/// Every token's name; its position is its id.
pub(super) const NAMES: &str = "\
<unknown> <start> loader repeat:2 repeat:4 repeat:16 repeat:64 repeat:256 repeat:1024 \
from:shell from:interpreter from:files from:text from:archive from:client from:remote \
from:server from:database from:container from:package from:build from:system from:account \
from:recon from:kernel from:debug from:other as:root as:system as:user as:nobody login:none \
login:user stdio:none stdio:file stdio:tty stdio:pipe stdio:unix stdio:inet stdio:device \
stdio:other \
exec:shell@packaged exec:interpreter@packaged exec:files@packaged exec:text@packaged \
exec:archive@packaged exec:client@packaged exec:remote@packaged exec:server@packaged \
exec:database@packaged exec:container@packaged exec:package@packaged exec:build@packaged \
exec:system@packaged exec:account@packaged exec:recon@packaged exec:kernel@packaged \
exec:debug@packaged exec:other@packaged exec:shell@local exec:shell@home exec:shell@tmp \
exec:shell@anon exec:interpreter@local exec:interpreter@home exec:interpreter@tmp \
exec:interpreter@anon exec:other@local exec:other@home exec:other@tmp exec:other@anon \
exec:elevated \
~file ~file!denied ~file!notfound ~file!error ~path ~path!denied ~path!notfound ~path!error \
~memory ~memory!denied ~memory!notfound ~memory!error ~process ~process!denied ~process!notfound \
~process!error ~signal ~signal!denied ~signal!notfound ~signal!error ~socket ~socket!denied \
~socket!notfound ~socket!error ~ipc ~ipc!denied ~ipc!notfound ~ipc!error ~time ~time!denied \
~time!notfound ~time!error ~wait ~wait!denied ~wait!notfound ~wait!error ~identity \
~identity!denied ~identity!notfound ~identity!error ~sched ~sched!denied ~sched!notfound \
~sched!error ~admin ~admin!denied ~admin!notfound ~admin!error ~rest ~rest!denied ~rest!notfound \
~rest!error compat~file compat~path compat~memory compat~process compat~signal compat~socket \
compat~ipc compat~time compat~wait compat~identity compat~sched compat~admin compat~rest \
x32~file x32~path x32~memory x32~process x32~signal x32~socket x32~ipc x32~time x32~wait \
x32~identity x32~sched x32~admin x32~rest \
fork:process fork:thread exit:ok exit:failed exit:signal open:create:etc open:create:home \
open:create:keys open:create:profile open:create:tmp open:create:log open:create:persist \
open:create:bin open:create:lib open:create:proc open:create:dev open:create:run \
open:create:data open:create:other open:write:etc open:write:home open:write:keys \
open:write:profile open:write:tmp open:write:log open:write:persist open:write:bin \
open:write:lib open:write:proc open:write:dev open:write:run open:write:data open:write:other \
unlink:tmp unlink:log unlink:system unlink:other rename:tmp rename:system rename:other \
chmod:exec chmod:setid chmod:other connect:loopback connect:private connect:public:web \
connect:public:dns connect:public:ssh connect:public:other connect:refused connect:unix \
connect:other accept:loopback accept:private accept:public accept:unix bind:low bind:high \
bind:other listen:loopback listen:network listen:other creds:root creds:drop creds:other \
creds:failed ptrace:attach ptrace:write ptrace:other ptrace:failed memfd dup_socket:inet \
dup_socket:unix mount:ok mount:failed module:load module:delete module:failed bpf:load \
bpf:attach bpf:map bpf:other \
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction \
rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield \
mremap madvise dup dup2 nanosleep setitimer getpid sendfile socket connect sendto recvfrom \
sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt \
clone fork vfork execve wait4 kill uname fcntl flock fsync fdatasync truncate ftruncate getdents \
getcwd chdir fchdir rename mkdir rmdir link unlink symlink readlink chmod fchmod chown fchown \
umask gettimeofday getrlimit getrusage sysinfo ptrace getuid syslog getgid setuid setgid geteuid \
getegid setpgid getppid setsid setreuid setregid getgroups setgroups setresuid getresuid \
setresgid getresgid getpgid getsid capget capset rt_sigtimedwait rt_sigsuspend sigaltstack mknod \
statfs fstatfs getpriority setpriority sched_setscheduler sched_getscheduler pivot_root prctl \
arch_prctl setrlimit chroot sync mount umount2 init_module delete_module gettid setxattr \
getxattr listxattr futex sched_setaffinity sched_getaffinity getdents64 set_tid_address \
fadvise64 timer_create timer_settime clock_gettime clock_nanosleep epoll_wait epoll_ctl tgkill \
waitid add_key request_key keyctl inotify_add_watch inotify_rm_watch openat mkdirat mknodat \
newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll \
unshare set_robust_list splice utimensat epoll_pwait timerfd_create fallocate timerfd_settime \
accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 perf_event_open prlimit64 \
open_by_handle_at setns process_vm_readv process_vm_writev finit_module renameat2 seccomp \
getrandom memfd_create bpf userfaultfd membarrier copy_file_range statx rseq pidfd_send_signal \
io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen pidfd_open clone3 \
close_range openat2 faccessat2 \
open!denied openat!denied access!denied mkdir!denied unlink!denied kill!denied mount!denied \
connect!denied execve!denied setuid!denied setresuid!denied ptrace!denied unshare!denied \
bpf!denied chown!denied ioctl!denied perf_event_open!denied process_vm_readv!denied \
access!notfound open!notfound openat!notfound openat2!notfound stat!notfound lstat!notfound \
newfstatat!notfound statx!notfound readlink!notfound readlinkat!notfound unlink!notfound \
unlinkat!notfound execve!notfound faccessat2!notfound rename!notfound chdir!notfound \
kill!notfound connect!notfound mkdir!notfound read!error write!error recvfrom!error \
recvmsg!error sendto!error sendmsg!error futex!error ioctl!error lseek!error connect!error \
accept4!error wait4!error epoll_wait!error poll!error ppoll!error pselect6!error mkdir!error \
openat!error arch_prctl!error readlink!error fcntl!error close!error clock_nanosleep!error \
rt_sigsuspend!error rt_sigtimedwait!error getxattr!error prctl!error setsockopt!error \
getpeername!error waitid!error";

/// Number and name of each x86-64 syscall that has a token of its own.
pub(super) const NATIVE: &str = "\
0:read 1:write 2:open 3:close 4:stat 5:fstat 6:lstat 7:poll 8:lseek 9:mmap 10:mprotect 11:munmap \
12:brk 13:rt_sigaction 14:rt_sigprocmask 15:rt_sigreturn 16:ioctl 17:pread64 18:pwrite64 \
19:readv 20:writev 21:access 22:pipe 23:select 24:sched_yield 25:mremap 28:madvise 32:dup \
33:dup2 35:nanosleep 38:setitimer 39:getpid 40:sendfile 41:socket 42:connect 44:sendto \
45:recvfrom 46:sendmsg 47:recvmsg 48:shutdown 49:bind 50:listen 51:getsockname 52:getpeername \
53:socketpair 54:setsockopt 55:getsockopt 56:clone 57:fork 58:vfork 59:execve 61:wait4 62:kill \
63:uname 72:fcntl 73:flock 74:fsync 75:fdatasync 76:truncate 77:ftruncate 78:getdents 79:getcwd \
80:chdir 81:fchdir 82:rename 83:mkdir 84:rmdir 86:link 87:unlink 88:symlink 89:readlink 90:chmod \
91:fchmod 92:chown 93:fchown 95:umask 96:gettimeofday 97:getrlimit 98:getrusage 99:sysinfo \
101:ptrace 102:getuid 103:syslog 104:getgid 105:setuid 106:setgid 107:geteuid 108:getegid \
109:setpgid 110:getppid 112:setsid 113:setreuid 114:setregid 115:getgroups 116:setgroups \
117:setresuid 118:getresuid 119:setresgid 120:getresgid 121:getpgid 124:getsid 125:capget \
126:capset 128:rt_sigtimedwait 130:rt_sigsuspend 131:sigaltstack 133:mknod 137:statfs \
138:fstatfs 140:getpriority 141:setpriority 144:sched_setscheduler 145:sched_getscheduler \
155:pivot_root 157:prctl 158:arch_prctl 160:setrlimit 161:chroot 162:sync 165:mount 166:umount2 \
175:init_module 176:delete_module 186:gettid 188:setxattr 191:getxattr 194:listxattr 202:futex \
203:sched_setaffinity 204:sched_getaffinity 217:getdents64 218:set_tid_address 221:fadvise64 \
222:timer_create 223:timer_settime 228:clock_gettime 230:clock_nanosleep 232:epoll_wait \
233:epoll_ctl 234:tgkill 247:waitid 248:add_key 249:request_key 250:keyctl 254:inotify_add_watch \
255:inotify_rm_watch 257:openat 258:mkdirat 259:mknodat 262:newfstatat 263:unlinkat 264:renameat \
265:linkat 266:symlinkat 267:readlinkat 268:fchmodat 269:faccessat 270:pselect6 271:ppoll \
272:unshare 273:set_robust_list 275:splice 280:utimensat 281:epoll_pwait 283:timerfd_create \
285:fallocate 286:timerfd_settime 288:accept4 289:signalfd4 290:eventfd2 291:epoll_create1 \
292:dup3 293:pipe2 294:inotify_init1 298:perf_event_open 302:prlimit64 304:open_by_handle_at \
308:setns 310:process_vm_readv 311:process_vm_writev 313:finit_module 316:renameat2 317:seccomp \
318:getrandom 319:memfd_create 321:bpf 323:userfaultfd 324:membarrier 326:copy_file_range \
332:statx 334:rseq 424:pidfd_send_signal 425:io_uring_setup 426:io_uring_enter \
427:io_uring_register 428:open_tree 429:move_mount 430:fsopen 434:pidfd_open 435:clone3 \
436:close_range 437:openat2 439:faccessat2";

/// Names of the families, in the order of [`FAMILY_LETTERS`].
pub(super) const FAMILIES: [&str; 13] = [
    "file", "path", "memory", "process", "signal", "socket", "ipc", "time", "wait", "identity",
    "sched", "admin", "rest",
];

/// One letter a family, as the two tables below use them.
pub(super) const FAMILY_LETTERS: &[u8; 13] = b"fpmxsnitwucao";

/// Family of each x86-64 syscall, by number.
pub(super) const NATIVE_FAMILIES: &[u8] = b"\
ffffpfpwfmmmmsssfffffpiwcmmmmiiiffsttttxfnnnnnnnnnnnnnnnxxxxxxsaiiiiiiiiffffpffppppppfpppppppppp\
tccatxuauuuuuxxxxuuuuuuuuxuuxuusssssppaxppfacccccccccmmmmamaaxmtcafataaaaaaaaaaaaoaaaoooooxfpppp\
ppppppppsticcmfffffmpwwwmfxxiftttttttttxwwspommmiiiiiiaxaaaccpppmfppppppppppppwwaxxffffmpwstiftt\
nsiwfipffsanppcpptfnacxxxaccpxafaaxmmmfffmmmpfxooooooooooooooooooooooooooooooooooooooooooooooooo\
ooooooooooooooooooooooooooooooooooooooooxfffaaaaaaxxffxpmwaaxxxfmim";

/// Family of each i386 syscall, by number.
pub(super) const COMPAT_FAMILIES: &[u8] = b"\
xxxffffxfppxptpppopfxaauutxtpspoopcofspppfitomuusuuaaoffoxoapapfxxxsssuussacccttuuwpppaaafmmpfpp\
ccopfanattppfaaaoaxaaifsxaamtmsaaaoaxpaaxouuffwfmffxfammmmcccccccctmuuaawauuxsssssssffppuusfooxc\
mpfppfpuuuuuuuupuuuupuuuuammffooxfppppppppppppsficcmmffffffoxpwwwmxtttttttttpfspfommmiiiiiiaxoaa\
accpppmfppppppppppppwwaxxffffmcwpstifttsiwfipffsanppcpptfnaxxxaccpxafaxnnnnnnnnnnnnnnnmmmfffmmmp\
mfxooooooiiiiiiiiiitttttttttpwwofniiisicxfffaaaaaaxxffxpmwaaxxxfmim";
