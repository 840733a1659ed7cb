//! Exit codes: the closed list of 3-interfaces 3.4.

/// How the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    Fine = 0,
    Failure = 1,
    /// clap itself ends with this one.
    Usage = 2,
    Differences = 3,
    Unhealthy = 4,
    /// `EX_CONFIG` of sysexits.h.
    BadConfig = 78,
    /// 128 + SIGINT, as shells count it.
    Interrupted = 130,
}

impl Exit {
    pub const ALL: [Self; 7] =
        [Self::Fine, Self::Failure, Self::Usage, Self::Differences, Self::Unhealthy, Self::BadConfig, Self::Interrupted];

    pub const fn code(self) -> u8 {
        self as u8
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Failure => "failure",
            Self::Usage => "wrong usage",
            Self::Differences => "differences found",
            Self::Unhealthy => "unhealthy or refused; a partition stopped",
            Self::BadConfig => "bad configuration",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
