//! The master: tables and namespaces, procedures, flushes, the state of the cluster.

use super::calls::{Answer, decode};
use super::meta::full_name;
use super::world::{Fail, World};
use bytes::Bytes;
use prost::Message;
use widerow::io::hbase::pb;

/// States of a procedure.
const NOT_FOUND: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;

pub fn answer(world: &mut World, method: &str, message: &Bytes) -> Result<Answer, Fail> {
    match method {
        "IsMasterRunning" => Ok(Answer::of(&pb::IsMasterRunningResponse { is_master_running: true })),
        "CreateNamespace" => {
            let asked: pb::CreateNamespaceRequest = decode(message)?;
            let name = String::from_utf8_lossy(&asked.namespace_descriptor.name).into_owned();
            if world.namespaces.contains(&name) {
                return Err(Fail::new("NamespaceExistException", name));
            }
            world.namespaces.push(name);
            Ok(procedure(world))
        }
        "CreateTable" => create(world, &decode(message)?),
        "DisableTable" | "EnableTable" | "DeleteTable" => {
            let asked: pb::ChangeTableRequest = decode(message)?;
            let name = known(world, &asked.table_name)?;
            if method == "DeleteTable" {
                world.tables.remove(&name);
                world.regions.retain(|r| r.table != name);
            } else if let Some(table) = world.tables.get_mut(&name) {
                table.enabled = method == "EnableTable";
            }
            Ok(procedure(world))
        }
        "FlushTable" => {
            // Table name alone: the other fields of the real message ask for families and nonces.
            let asked: pb::GetTableStateRequest = decode(message)?;
            let name = known(world, &asked.table_name)?;
            world.flush_table(&name);
            Ok(procedure(world))
        }
        "GetTableState" => {
            let asked: pb::GetTableStateRequest = decode(message)?;
            let name = known(world, &asked.table_name)?;
            let state = i32::from(!world.tables[&name].enabled);
            Ok(Answer::of(&pb::GetTableStateResponse { table_state: pb::TableState { state } }))
        }
        "GetTableDescriptors" => {
            let asked: pb::GetTableDescriptorsRequest = decode(message)?;
            let wanted: Vec<String> = asked.table_names.iter().map(full_name).collect();
            let all = wanted.is_empty();
            let found = world.tables.iter().filter(|(name, _)| all || wanted.contains(name));
            Ok(Answer::of(&pb::GetTableDescriptorsResponse { table_schema: found.map(|(_, t)| t.schema.clone()).collect() }))
        }
        "getProcedureResult" => {
            let asked: pb::GetProcedureResultRequest = decode(message)?;
            // Running, finished, and then forgotten: the end is told once.
            let state = world.procedures.remove(&asked.proc_id).unwrap_or(NOT_FOUND);
            if state == RUNNING {
                world.procedures.insert(asked.proc_id, FINISHED);
            }
            Ok(Answer::of(&pb::GetProcedureResultResponse { state: i32::from(state), result: None, exception: None }))
        }
        "GetClusterStatus" => Ok(Answer::of(&pb::GetClusterStatusResponse { cluster_status: status(world) })),
        _ => Err(Fail::new("UnsupportedOperationException", method)),
    }
}

fn create(world: &mut World, asked: &pb::CreateTableRequest) -> Result<Answer, Fail> {
    let Some(name) = &asked.table_schema.table_name else {
        return Err(Fail::new("DoNotRetryIOException", "a table without a name"));
    };
    let namespace = String::from_utf8_lossy(&name.namespace).into_owned();
    if !world.namespaces.contains(&namespace) {
        return Err(Fail::new("NamespaceNotFoundException", namespace));
    }
    let full = full_name(name);
    if world.tables.contains_key(&full) {
        return Err(Fail::new("TableExistsException", full));
    }
    if asked.table_schema.column_families.is_empty() {
        return Err(Fail::new("DoNotRetryIOException", "Table should have at least one column family"));
    }
    world.create(&full, asked.table_schema.clone(), &asked.split_keys);
    Ok(procedure(world))
}

fn known(world: &World, name: &pb::TableName) -> Result<String, Fail> {
    let full = full_name(name);
    if world.tables.contains_key(&full) { Ok(full) } else { Err(Fail::new("TableNotFoundException", full)) }
}

fn procedure(world: &mut World) -> Answer {
    let id = world.tick();
    world.procedures.insert(id, RUNNING);
    Answer { message: pb::ProcedureResponse { proc_id: Some(id) }.encode_to_vec(), ..Answer::default() }
}

fn status(world: &World) -> pb::ClusterStatus {
    let (living, dead): (Vec<usize>, Vec<usize>) = (0..world.servers.len()).partition(|s| world.servers[*s].alive);
    pb::ClusterStatus {
        hbase_version: Some(pb::HBaseVersion { version: "2.6.4-fake".into() }),
        live_servers: Vec::new(),
        servers_name: living.into_iter().map(|s| world.server_name(s)).collect(),
        dead_servers: dead.into_iter().map(|s| world.server_name(s)).collect(),
        cluster_id: Some(pb::ClusterId { cluster_id: "5eed".into() }),
        master: None,
    }
}
