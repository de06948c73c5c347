//! Programs whose short options carry secrets. A letter says nothing without its program:
//! `mysql -pX` is a password, `ssh -p22` a port, `cp -p` neither.

/// Which part of an option's value is the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All of it, unless it is a path.
    UnlessPath,
    /// What stands behind the first of these bytes: `user:secret`.
    Behind(u8),
}

/// What an option says of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It stands in the same word, from this byte on.
    Here(usize, Part),
    /// It is the next word.
    Next(Part),
}

#[derive(Debug, PartialEq, Eq)]
struct Opt {
    name: &'static [u8],
    /// The value may follow in the same word.
    joined: bool,
    /// The value may be the next word.
    apart: bool,
    part: Part,
}

const fn opt(name: &'static str, joined: bool, apart: bool, part: Part) -> Opt {
    Opt {
        name: name.as_bytes(),
        joined,
        apart,
        part,
    }
}

/// Which arguments of a program are scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// None.
    No,
    /// The one behind `-c`, `-e` or `-r`.
    BehindFlag,
    /// Any that has blanks.
    Any,
}

/// A family of programs.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    names: &'static [&'static str],
    options: &'static [Opt],
    /// It runs the program that a later argument names.
    launches: bool,
    /// What it runs as a script.
    pub scripts: Scripts,
    /// Its subcommand `login` has options of its own.
    logs_in: bool,
}

const fn family(names: &'static [&'static str], options: &'static [Opt]) -> Program {
    Program {
        names,
        options,
        launches: false,
        scripts: Scripts::No,
        logs_in: false,
    }
}

static LAUNCHERS: Program = Program {
    launches: true,
    ..family(
        &[
            "sudo",
            "doas",
            "env",
            "nice",
            "ionice",
            "timeout",
            "nohup",
            "setsid",
            "strace",
            "ltrace",
            "time",
            "xargs",
            "chroot",
            "nsenter",
            "unshare",
            "flock",
            "stdbuf",
            "kubectl",
            "crictl",
            "busybox",
            "systemd-run",
        ],
        &[],
    )
};

static REMOTES: Program = Program {
    launches: true,
    scripts: Scripts::Any,
    ..family(&["ssh", "watch", "parallel"], &[])
};

static USERS: Program = Program {
    launches: true,
    scripts: Scripts::BehindFlag,
    ..family(&["su", "runuser", "capsh"], &[])
};

/// Without the digits of their versions.
static INTERPRETERS: Program = Program {
    scripts: Scripts::BehindFlag,
    ..family(
        &[
            "sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "mksh", "rbash", "csh", "tcsh",
            "python", "perl", "ruby", "node", "php", "lua", "pwsh",
        ],
        &[],
    )
};

static SSHPASS: Program = Program {
    launches: true,
    ..family(&["sshpass"], &[opt("-p", true, true, Part::Whole)])
};

static REGISTRY: Program = Program {
    launches: true,
    logs_in: true,
    ..family(
        &[
            "docker", "podman", "nerdctl", "helm", "oras", "skopeo", "buildah", "crane", "az",
        ],
        &[],
    )
};

static LOGIN: Program = family(&[], &[opt("-p", true, true, Part::Whole)]);

static FAMILIES: [Program; 15] = [
    // `mysql -p NAME` asks for the password; NAME is a database.
    family(
        &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlshow",
            "mysqlcheck",
            "mysqlsh",
            "mysqlpump",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
            "mycli",
        ],
        &[opt("-p", true, false, Part::Whole)],
    ),
    family(
        &["7z", "7za", "7zr", "7zz", "rar", "unrar"],
        &[opt("-p", true, false, Part::Whole)],
    ),
    family(
        &[
            "mongo",
            "mongosh",
            "mongodump",
            "mongorestore",
            "mongoexport",
            "mongoimport",
            "rdesktop",
        ],
        &[opt("-p", true, true, Part::Whole)],
    ),
    family(
        &["useradd", "usermod"],
        &[opt("-p", false, true, Part::Whole)],
    ),
    family(
        &["curl"],
        &[
            opt("-u", true, true, Part::Behind(b':')),
            opt("-U", true, true, Part::Behind(b':')),
            opt("--user", false, true, Part::Behind(b':')),
            opt("--user=", true, false, Part::Behind(b':')),
            opt("--proxy-user", false, true, Part::Behind(b':')),
            opt("--proxy-user=", true, false, Part::Behind(b':')),
        ],
    ),
    family(&["lftp"], &[opt("-u", false, true, Part::Behind(b','))]),
    family(
        &["smbclient", "rpcclient", "net", "smbget"],
        &[
            opt("-U", true, true, Part::Behind(b'%')),
            opt("--user", false, true, Part::Behind(b'%')),
            opt("--user=", true, false, Part::Behind(b'%')),
        ],
    ),
    family(
        &["redis-cli", "valkey-cli"],
        &[opt("-a", false, true, Part::Whole)],
    ),
    family(
        &[
            "ldapsearch",
            "ldapadd",
            "ldapmodify",
            "ldapdelete",
            "ldapwhoami",
            "ldapcompare",
        ],
        &[opt("-w", true, true, Part::Whole)],
    ),
    family(
        &["ldappasswd"],
        &[
            opt("-w", true, true, Part::Whole),
            opt("-s", true, true, Part::Whole),
            opt("-a", true, true, Part::Whole),
        ],
    ),
    family(
        &[
            "sqlcmd",
            "bcp",
            "zip",
            "unzip",
            "ipmitool",
            "mosquitto_pub",
            "mosquitto_sub",
        ],
        &[opt("-P", true, true, Part::Whole)],
    ),
    family(
        &["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"],
        &[
            opt("-A", true, true, Part::Whole),
            opt("-X", true, true, Part::Whole),
            opt("-c", true, true, Part::Whole),
        ],
    ),
    family(
        &["xfreerdp", "wlfreerdp"],
        &[opt("/p:", true, false, Part::Whole)],
    ),
    family(
        &["plink", "pscp", "psftp"],
        &[opt("-pw", false, true, Part::Whole)],
    ),
    family(&["nmcli"], &[opt("password", false, true, Part::Whole)]),
];

/// The program of a command word, by the last part of its path.
pub fn of_word(word: &[u8]) -> Option<&'static Program> {
    let name = word.rsplit(|byte| *byte == b'/').next()?;
    let is =
        |program: &Program, name: &[u8]| program.names.iter().any(|known| known.as_bytes() == name);
    let versionless = name
        .iter()
        .rposition(|byte| !(byte.is_ascii_digit() || *byte == b'.'))
        .map_or(name, |last| &name[..=last]);
    if is(&INTERPRETERS, versionless) {
        return Some(&INTERPRETERS);
    }
    [&LAUNCHERS, &REGISTRY, &REMOTES, &USERS, &SSHPASS]
        .into_iter()
        .chain(&FAMILIES)
        .find(|program| is(program, name))
}

impl Program {
    /// Whose options follow behind `word`, an argument of this one.
    pub fn behind(&'static self, word: &[u8]) -> Option<&'static Self> {
        if self.logs_in && word == b"login" {
            Some(&LOGIN)
        } else if !self.launches || word.starts_with(b"-") {
            Some(self)
        } else if self.options.is_empty() {
            of_word(word).or(Some(self))
        } else {
            // What sshpass runs has its own options, known or not.
            of_word(word)
        }
    }

    /// What a word that may be an option says of a secret.
    pub fn option(&self, word: &[u8]) -> Option<Found> {
        self.options.iter().find_map(|option| {
            let rest = word.strip_prefix(option.name);
            match rest {
                Some([]) if option.apart => Some(Found::Next(option.part)),
                Some([_, ..]) if option.joined && !is_ports(&word[option.name.len()..]) => {
                    Some(Found::Here(option.name.len(), option.part))
                }
                Some(_) => None,
                None if option.apart && ends_cluster(word, option.name) => {
                    Some(Found::Next(option.part))
                }
                None => None,
            }
        })
    }
}

/// `docker run --name mysql -p3306:3306`: two ports, no password.
fn is_ports(value: &[u8]) -> bool {
    value.contains(&b':')
        && value
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
}

/// Whether `word` is a few letters behind one dash, `option`'s the last: `curl -sSu`.
fn ends_cluster(word: &[u8], option: &[u8]) -> bool {
    let ([b'-', letter], [b'-', cluster @ ..]) = (option, word) else {
        return false;
    };
    (2..=5).contains(&cluster.len())
        && cluster.iter().all(u8::is_ascii_alphabetic)
        && cluster.last() == Some(letter)
}
