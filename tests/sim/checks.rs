//! What must hold while a run goes on.

use super::group::Group;
use serde_json::Value;
use widerow::domain::ids::{Name, NextOffset, Partition, RowId, RowKey};
use widerow::ports::rows::RowStore;

/// Records of one commit that are looked at: the newest are the ones a fault would leave out.
const LOOKED_AT: usize = 12;

/// I6: what a commit passes is in the row store.
pub async fn committed(group: &Group, partition: Partition, next: NextOffset) {
    for record in group.below(partition, next).iter().rev().take(LOOKED_AT) {
        let body: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default()).unwrap_or_default();
        let (Some(table), Some(key)) = (body["table"].as_str(), body["data"]["order_no"].as_str()) else { continue };
        let child = body["data"]["id"].to_string();
        let row = RowId { kind: Name::of("order"), key: RowKey::new(key) };
        let held = group.sea.rows.read(vec![row.clone()]).await.ok().and_then(|mut rows| rows.pop().flatten());
        let stamp = record.offset + 1;
        let newest = held
            .iter()
            .flat_map(|row| &row.parts)
            .filter(|part| part.id.table.as_str().ends_with(table) && (*part.id.child == *child || part.id.child.is_empty()));
        let newest = newest.map(|part| {
            let cells = part.cells.iter().map(|cell| cell.stamp.0).max().unwrap_or(-1);
            cells.max(part.tombstone.map_or(-1, |tombstone| tombstone.stamp.0))
        });
        let newest = newest.max().unwrap_or(-1);
        if newest < stamp {
            group.sea.wrong(format!(
                "I6: {partition} commits {}, and {row} lacks offset {} ({newest} < {stamp})",
                next.0, record.offset
            ));
        }
    }
}
