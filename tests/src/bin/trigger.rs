//! Does exactly one act, and prints the truth about it as one line of JSON: the kind of the
//! record that a sensor must report, who did it, and the fields that must be in it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use ravn_tests::acts::{BEGAN, Done, file, network, process, security, syscalls, threads};

const USAGE: &str = "usage: trigger ACT [ARGUMENT…]
  exec PROGRAM [ARG…]   fork   thread   exit CODE   killed SIGNAL   memfd-exec
  open-create PATH   open-write PATH   unlink PATH   unlink-relative PATH
  rename FROM TO   chmod PATH   fchmod PATH
  connect PORT   connect6 PORT   connect-refused   connect-udp   accept   bind   listen
  dup-socket   reverse-shell
  setuid   setgid   capset   ptrace-attach   ptrace-traceme   memfd   mount FOLDER
  module   bpf
  syscalls SEED CALLS THREADS   hopping-syscalls SEED CALLS THREADS
  short-threads SEED CALLS THREADS   storm FOLDER COUNT PER_SECOND   fence";

fn act(args: &[String]) -> Result<Done> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["exec", program, ..] => process::exec(program, &args[2..]),
        ["fork"] => process::fork(),
        ["thread"] => process::thread(),
        ["exit", code] => process::exit(code),
        ["killed", signal] => process::killed(signal),
        ["memfd-exec"] => process::memfd_exec(),
        ["open-create", path] => file::open_create(path),
        ["open-write", path] => file::open_write(path),
        ["unlink", path] => file::unlink(path),
        ["unlink-relative", path] => file::unlink_relative(path),
        ["rename", from, to] => file::rename(from, to),
        ["chmod", path] => file::chmod(path),
        ["fchmod", path] => file::fchmod(path),
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
        ["ptrace-attach"] => security::ptrace_attach(),
        ["ptrace-traceme"] => security::ptrace_traceme(),
        ["memfd"] => security::memfd(),
        ["mount", folder] => security::mount(folder),
        ["module"] => security::module(),
        ["bpf"] => security::bpf(),
        ["syscalls", seed, calls, threads] => syscalls::run(seed, calls, threads),
        ["hopping-syscalls", seed, calls, threads] => threads::hopping(seed, calls, threads),
        ["short-threads", seed, calls, threads] => threads::short(seed, calls, threads),
        ["storm", folder, count, rate] => syscalls::storm(folder, count, rate),
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
