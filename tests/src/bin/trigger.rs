//! Does exactly one act, and prints the truth about it as one line of JSON: the kind of the
//! record that a sensor must report, who did it, and the fields that must be in it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use ravn_tests::acts::{
    BEGAN, Done, again, door, file, mix, namespace, network, other, process, race, ring, security,
    syscalls, threads, ways,
};

const USAGE: &str = "usage: trigger ACT [ARGUMENT…]
  exec PROGRAM [ARG…]   exec-script SCRIPT   exec-setuid PROGRAM   memfd-exec
  fork   thread   exit CODE   killed SIGNAL   cgroup FOLDER
  open-create PATH   open-write PATH   unlink PATH   unlink-relative PATH
  open-by-handle PATH   open-as GIVEN REAL   open-descriptor PATH   read PATH   race-open FOLDER ROUNDS
  rename FROM TO   link FROM TO   link-descriptor FROM TO   symlink TARGET AT   mknod PATH
  chmod PATH   fchmod PATH   chown PATH   fchown PATH   truncate PATH   ftruncate PATH
  setxattr PATH   fremovexattr PATH
  connect PORT   connect6 PORT   connect-refused   connect-udp   accept   bind   listen
  connect-mapped PORT   close PORT   send   dns sendto|send|write|sendmsg|sendmmsg
  packet-socket   raw-socket   dup-socket   reverse-shell
  setuid   setgid   setgroups   capset   ptrace-attach   ptrace-traceme   vm-write   vm-read
  kill   signal PID   memfd   mount FOLDER   module   bpf
  unshare   unshare-creds   clone   setns   setns-process   pivot-root FOLDER
  map-wx   write-then-execute   patched-file PATH   keyctl   kexec PATH   perf-event
  userfaultfd   io-uring   ring-openat PATH   ring-unlinkat PATH   ring-connect PORT
  compat   socketcall   truncate64 PATH   ftruncate64 PATH   setuid32   setuid-x32
  late FIFO ACT…   again send|map-wx|compat FIFO
  crowd COUNT   syscalls SEED CALLS THREADS   hopping-syscalls SEED CALLS THREADS
  short-threads SEED CALLS THREADS   storm FOLDER COUNT PER_SECOND
  hopping-opens FOLDER COUNT   mix FOLDER ROUNDS [PER_SECOND]   fence";

fn act(args: &[String]) -> Result<Done> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["exec", program, ..] => process::exec(program, &args[2..]),
        ["exec-script", script] => process::exec_script(script),
        ["exec-setuid", program] => process::exec_setuid(program),
        ["fork"] => process::fork(),
        ["thread"] => process::thread(),
        ["exit", code] => process::exit(code),
        ["killed", signal] => process::killed(signal),
        ["cgroup", folder] => process::cgroup(folder),
        ["memfd-exec"] => process::memfd_exec(),
        ["open-create", path] => file::open_create(path),
        ["open-write", path] => file::open_write(path),
        ["unlink", path] => file::unlink(path),
        ["unlink-relative", path] => file::unlink_relative(path),
        ["rename", from, to] => file::rename(from, to),
        ["chmod", path] => file::chmod(path),
        ["fchmod", path] => file::fchmod(path),
        ["open-as", given, real] => file::open_as(given, real),
        ["open-descriptor", path] => file::open_descriptor(path),
        ["open-by-handle", path] => ways::open_by_handle(path),
        ["read", path] => file::read(path),
        ["link", from, to] => file::link(from, to),
        ["link-descriptor", from, to] => file::link_descriptor(from, to),
        ["symlink", target, at] => file::symlink(target, at),
        ["chown", path] => file::chown(path),
        ["fchown", path] => file::fchown(path),
        ["truncate", path] => file::truncate(path),
        ["ftruncate", path] => file::ftruncate(path),
        ["setxattr", path] => file::setxattr(path),
        ["fremovexattr", path] => file::fremovexattr(path),
        ["mknod", path] => file::mknod(path),
        ["race-open", folder, rounds] => race::open(folder, rounds),
        ["connect-mapped", port] => network::connect_mapped(port),
        ["close", port] => network::close(port),
        ["send"] => network::send(),
        ["dns", way] => network::dns(way),
        ["packet-socket"] => network::packet_socket(),
        ["raw-socket"] => network::raw_socket(),
        ["connect", port] => network::connect(port, false),
        ["connect6", port] => network::connect(port, true),
        ["connect-refused"] => network::connect_refused(),
        ["connect-udp"] => network::connect_udp(),
        ["accept"] => network::accept(),
        ["bind"] => network::bind(),
        ["listen"] => network::listen(),
        ["dup-socket"] => network::dup_socket(),
        ["reverse-shell"] => network::reverse_shell(),
        ["setuid"] => security::setuid(),
        ["setgid"] => security::setgid(),
        ["capset"] => security::capset(),
        ["setgroups"] => security::setgroups(),
        ["ptrace-attach"] => other::ptrace_attach(),
        ["ptrace-traceme"] => other::ptrace_traceme(),
        ["vm-write"] => other::vm(true),
        ["vm-read"] => other::vm(false),
        ["kill"] => other::kill(),
        ["signal", pid] => other::signal(pid),
        ["unshare"] => namespace::unshare(),
        ["unshare-creds"] => namespace::unshare_creds(),
        ["clone"] => namespace::clone(),
        ["setns"] => namespace::setns(),
        ["setns-process"] => namespace::setns_process(),
        ["pivot-root", folder] => namespace::pivot_root(folder),
        ["map-wx"] => door::map_wx(),
        ["write-then-execute"] => door::write_then_execute(),
        ["patched-file", path] => door::patched_file(path),
        ["keyctl"] => door::keyctl(),
        ["kexec", path] => door::kexec(path),
        ["perf-event"] => door::perf_event(),
        ["userfaultfd"] => door::userfaultfd(),
        ["compat"] => ways::compat(),
        ["socketcall"] => ways::socketcall(),
        ["truncate64", path] => ways::truncate64(path),
        ["ftruncate64", path] => ways::ftruncate64(path),
        ["setuid32"] => ways::setuid32(),
        ["setuid-x32"] => ways::setuid_x32(),
        ["again", way, fifo] => again::again(way, fifo),
        ["late", fifo, ..] => {
            again::wait(fifo)?;
            act(&args[2..])
        }
        ["io-uring"] => ring::io_uring(),
        ["ring-openat", path] => ring::openat(path),
        ["ring-unlinkat", path] => ring::unlinkat(path),
        ["ring-connect", port] => ring::connect(port),
        ["memfd"] => security::memfd(),
        ["mount", folder] => security::mount(folder),
        ["module"] => security::module(),
        ["bpf"] => security::bpf(),
        ["syscalls", seed, calls, threads] => syscalls::run(seed, calls, threads),
        ["hopping-syscalls", seed, calls, threads] => threads::hopping(seed, calls, threads),
        ["short-threads", seed, calls, threads] => threads::short(seed, calls, threads),
        ["hopping-opens", folder, count] => syscalls::hopping_opens(folder, count),
        ["storm", folder, count, rate] => syscalls::storm(folder, count, rate),
        ["mix", folder, rounds] => mix::run(folder, rounds, "0"),
        ["mix", folder, rounds, rate] => mix::run(folder, rounds, rate),
        ["crowd", count] => syscalls::crowd(count),
        ["fence"] => syscalls::fence(),
        _ => bail!("{USAGE}"),
    }
}

fn main() -> ExitCode {
    BEGAN.get_or_init(ravn_shared::clock::boottime_ns);
    let args: Vec<String> = std::env::args().skip(1).collect();
    match act(&args) {
        Ok(done) => {
            done.print();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trigger: {error:#}");
            ExitCode::from(ravn_shared::exit::RUN)
        }
    }
}
