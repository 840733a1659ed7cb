//! What actors say to each other. One file per conversation; no client crate, no logic beyond the ticket's guard.
//!
//! | message | from → to | reply | order | if it is lost |
//! |---|---|---|---|---|
//! | [`TakeRecords`](intake::TakeRecords) | intake → partition | its `taken` is dropped when more may come | per partition | `taken` drops, the source goes on, the frontier stays; nothing is committed past it |
//! | [`SkipTo`](intake::SkipTo) | supervisor → partition | none | behind the records taken before | a restart's source says it again |
//! | [`ApplyChanges`](entity::ApplyChanges) | partition → entity, through [`RowDirectory`](entity::RowDirectory) | by tickets | per row and partition | its tickets drop and count as failed (O2) |
//! | [`WriteRow`](write::WriteRow) | entity → writer, on a [`Belt`](belt::Belt) | [`RowWritten`](write::RowWritten) | per row: one in flight (N1) | its reply guard answers "unknown", the entity writes again |
//! | [`OfferJobs`](offer::OfferJobs) | entity → offerer, on a [`Belt`](belt::Belt) | by tickets | none needed | its tickets drop and count as failed |
//! | [`Wake`](belt::Wake) | belt → writer, offerer | none | behind what is in the mailbox | the next one is sent with the next taker |
//! | [`TicketsClosed`](ticket::TicketsClosed) | offerer or a dropped ticket → partition | none | none needed | the partition never passes the record; a restart reads it again |
//! | [`Observe`](observe::Observe) | supervisor, admin → every actor | [`Observation`](observe::Observation) | – | the asker shows the actor as silent |
//! | [`Drain`](control::Drain) | supervisor → partition, sink | when nothing is left in hand | after everything sent before | the step's deadline passes and the drain goes on |
//! | [`PausePartition`](control::PausePartition), [`ResumePartition`](control::ResumePartition) | supervisor → partition | done | – | the operator asks again |
//! | [`ActorExited`](control::ActorExited) | watch → supervisor | none | per actor | cannot be: sent by the watching task, which outlives the actor |

pub mod belt;
pub mod control;
pub mod entity;
pub mod intake;
pub mod observe;
pub mod offer;
pub mod ticket;
pub mod write;
