//! The closed lists: every metric with its kind, labels and help, and every label value that is ours to choose.
//!
//! The dashboard, the alerts and the reference page are held against [`METRICS`] by tests.

use crate::domain::decode::Ignored;

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric: its full name, its labels in no order, and what it tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*
        /// Every metric there is.
        pub const METRICS: &[Metric] = &[$(
            Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help },
        )*];
    };
}

metrics! {
    EVENTS_RECEIVED = Counter "widerow_events_received_total" ["source", "topic"] "Records delivered by the log, repeated deliveries included.";
    EVENTS_STALE = Counter "widerow_events_stale_total" [] "Changes whose row write was skipped because their stamps were written before.";
    EVENTS_IGNORED = Counter "widerow_events_ignored_total" ["reason"] "Records that carry no data for any row.";
    DEAD_LETTERS = Counter "widerow_dead_letters_total" ["reason"] "Log positions whose record could not be used.";
    MOVES_UNSEEN = Counter "widerow_moves_unseen_total" [] "Old halves of key changes that could not be compared with their row.";
    CHECKS_OWED = Counter "widerow_checks_owed_total" ["reason"] "Promises to compare an entity or a table with the database.";
    VERDICTS_LATE = Counter "widerow_verdicts_late_total" [] "Verdicts of an earlier generation of a partition; they commit nothing.";
    TICKETS_LOST = Counter "widerow_tickets_lost_total" [] "Records without a verdict when their partition left; its next owner reads them again.";
    SOURCE_LAG_RECORDS = Gauge "widerow_source_lag_records" ["topic", "partition"] "Records between the read position and the end of the log.";
    SOURCE_LAG_SECONDS = Gauge "widerow_source_lag_seconds" ["topic", "partition"] "Age of the newest record read.";
    STAGE_DELAY = Histogram "widerow_stage_delay_seconds" ["line", "stage"] "Time a change spent in one stage of its way.";
    ROW_WRITES = Counter "widerow_row_writes_total" ["outcome"] "Rows sent to the row store, by what became of them.";
    ROW_CELLS = Counter "widerow_row_cells_total" [] "Cells in acknowledged row writes.";
    STORE_REQUEST = Histogram "widerow_store_request_seconds" ["op"] "Time of one request to the row store.";
    JOBS = Counter "widerow_jobs_total" ["line", "outcome"] "Jobs, by what became of an offer or a run.";
    JOBS_LATE = Counter "widerow_jobs_late_total" ["line"] "Jobs taken later than expire_after.";
    JOBS_PENDING = Gauge "widerow_jobs_pending" ["line", "lane"] "Jobs that wait in a lane.";
    JOB_OLDEST = Gauge "widerow_job_oldest_seconds" ["line", "lane"] "Age of the oldest job that waits in a lane.";
    LANE_GUARD = Gauge "widerow_lane_guard" ["line", "lane", "guard"] "1 while a guard keeps offers from a lane: overflow sends them to the ledger, bulk to the line's lowest lane.";
    SINK_DOCUMENTS = Counter "widerow_sink_documents_total" ["line", "outcome"] "Documents, by what the sink answered.";
    SINK_REQUEST = Histogram "widerow_sink_request_seconds" ["line"] "Time of one request to a sink.";
    SINK_BREAKER_OPEN = Gauge "widerow_sink_breaker_open" ["line"] "1 while a line takes no jobs because its sink, store or queue does not answer.";
    AMBIGUOUS_COLUMNS = Counter "widerow_ambiguous_columns_total" ["line"] "Document fields that found several living rows of a one-to-one table.";
    ACTOR_STATE = Gauge "widerow_actor_state" ["kind", "state"] "Actors of a kind in a state.";
    ACTOR_MAILBOX_DEPTH = Gauge "widerow_actor_mailbox_depth" ["kind"] "Messages waiting in the mailboxes of a kind.";
    ACTOR_RESTARTS = Counter "widerow_actor_restarts_total" ["kind", "cause"] "Actors made anew, by why the former one ended.";
    ACTOR_BUSY = Gauge "widerow_actor_busy_ratio" ["kind"] "Share of time the actors of a kind spent working.";
    INVARIANT_VIOLATIONS = Counter "widerow_invariant_violations_total" ["id"] "Times a stated invariant did not hold.";
    DEGRADED = Gauge "widerow_degraded" [] "1 while readers are told that data may be old.";
    CONFIG_INFO = Gauge "widerow_config_info" ["hash"] "1 for the configuration in force.";
    BUILD_INFO = Gauge "widerow_build_info" ["version"] "1 for the version that runs.";
}

/// Tells the recorder what each metric is for.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $value:ident = $label:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $value,)* }
        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];
            pub const fn label(self) -> &'static str {
                match self { $(Self::$value => $label,)* }
            }
            /// Its place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// A stretch of a change's way; `stage_delay_seconds`.
    Stage {
        BinlogToLog = "binlog_to_log",
        LogToRow = "log_to_row",
        RowToJob = "row_to_job",
        JobToSink = "job_to_sink",
        BinlogToSink = "binlog_to_sink",
    }
    /// What became of an offer or a run of a job.
    JobOutcome {
        Created = "created",
        Coalesced = "coalesced",
        Done = "done",
        Retried = "retried",
        Buried = "buried",
        Parked = "parked",
        Dropped = "dropped",
        Spilled = "spilled",
    }
    /// What became of a document.
    DocumentOutcome {
        Written = "written",
        Superseded = "superseded",
        /// Equal to the one last written (K5), or nothing to delete.
        Skipped = "skipped",
        Deleted = "deleted",
        Rejected = "rejected",
        Retried = "retried",
    }
    /// What became of a row of a write batch.
    RowWriteOutcome {
        Written = "written",
        /// The outcome is unknown or the store was away: sent again unchanged.
        Retried = "retried",
        Failed = "failed",
    }
    /// A request to the row store.
    StoreOp {
        Write = "write",
        Read = "read",
        WriteChecked = "write_checked",
        Scan = "scan",
        Purge = "purge",
        Meta = "meta",
        MakeDurable = "make_durable",
    }
    /// Why a check is owed; such checks are only counted until there is a verifier.
    OwedFor {
        /// Truncate, drop or alter of a configured table (C6).
        Destructive = "destructive",
        /// A key change (C5).
        Move = "move",
        /// Records the log no longer holds (E3).
        Gap = "gap",
    }
    /// A stated invariant (I1 to I12).
    Invariant {
        FinalRow = "I1",
        VersionsRise = "I2",
        DocumentIsWhole = "I3",
        SinkNeverFalls = "I4",
        SinksAgree = "I5",
        CommitIsSettled = "I6",
        EveryChangeHasAJob = "I7",
        BoundsHold = "I8",
        NothingDropped = "I9",
        Quiescence = "I10",
        NoCommitAfterRevoke = "I11",
        SilenceIsFailure = "I12",
    }
}

/// Labels of records without data (C6), in the order of [`ignored_index`].
pub(super) const IGNORED: [&str; 7] = ["tombstone", "heartbeat", "transaction", "ddl", "destructive", "unknown_table", "marker"];

pub(super) const fn ignored_index(ignored: Ignored) -> usize {
    match ignored {
        Ignored::Tombstone => 0,
        Ignored::Heartbeat => 1,
        Ignored::Transaction => 2,
        Ignored::Ddl => 3,
        Ignored::Destructive { .. } => 4,
        Ignored::UnknownTable => 5,
        Ignored::Marker => 6,
    }
}

/// Label of a record without data (C6).
pub const fn ignored_label(ignored: Ignored) -> &'static str {
    IGNORED[ignored_index(ignored)]
}
