//! From an entity to the offerer.

use super::ticket::Ticket;
use crate::domain::entity::{Offers, Tickets};
use crate::domain::ids::Millis;

/// Jobs owed for content that is acknowledged in the row store (J3). The offerer settles the tickets once the queue has
/// accepted the offers durably (J5).
pub struct OfferJobs {
    pub offers: Offers,
    /// When the row store acknowledged what they are owed for.
    pub written: Millis,
    pub tickets: Tickets<Ticket>,
}
