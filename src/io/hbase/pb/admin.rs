//! Tables, procedures, flushes, the state of the cluster: `Master.proto`, `Admin.proto`, `Procedure.proto`, `ClusterStatus.proto`.

use super::{Empty, RegionSpecifier, ServerName, TableName};
use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Eq, Message)]
pub struct BytesBytesPair {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub first: Bytes,
    #[prost(bytes = "bytes", required, tag = "2")]
    pub second: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct NameStringPair {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(string, required, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ColumnFamilySchema {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub name: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<BytesBytesPair>,
    #[prost(message, repeated, tag = "3")]
    pub configuration: Vec<NameStringPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TableSchema {
    #[prost(message, optional, tag = "1")]
    pub table_name: Option<TableName>,
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<BytesBytesPair>,
    #[prost(message, repeated, tag = "3")]
    pub column_families: Vec<ColumnFamilySchema>,
    #[prost(message, repeated, tag = "4")]
    pub configuration: Vec<NameStringPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateTableRequest {
    #[prost(message, required, tag = "1")]
    pub table_schema: TableSchema,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub split_keys: Vec<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    pub nonce_group: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    pub nonce: Option<u64>,
}

/// `DisableTable`, `EnableTable` and `DeleteTable` ask the same.
#[derive(Clone, PartialEq, Message)]
pub struct ChangeTableRequest {
    #[prost(message, required, tag = "1")]
    pub table_name: TableName,
    #[prost(uint64, optional, tag = "2")]
    pub nonce_group: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub nonce: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamespaceDescriptor {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub name: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub configuration: Vec<NameStringPair>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateNamespaceRequest {
    #[prost(message, required, tag = "1")]
    pub namespace_descriptor: NamespaceDescriptor,
    #[prost(uint64, optional, tag = "2")]
    pub nonce_group: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub nonce: Option<u64>,
}

/// What every call that starts a procedure answers.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProcedureResponse {
    #[prost(uint64, optional, tag = "1")]
    pub proc_id: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct GetProcedureResultRequest {
    #[prost(uint64, required, tag = "1")]
    pub proc_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct GenericExceptionMessage {
    #[prost(string, optional, tag = "1")]
    pub class_name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub message: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ForeignExceptionMessage {
    #[prost(string, optional, tag = "1")]
    pub source: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub generic_exception: Option<GenericExceptionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetProcedureResultResponse {
    /// NOT_FOUND 0, RUNNING 1, FINISHED 2; FINISHED is told once.
    #[prost(int32, required, tag = "1")]
    pub state: i32,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub result: Option<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub exception: Option<ForeignExceptionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetTableStateRequest {
    #[prost(message, required, tag = "1")]
    pub table_name: TableName,
}

/// ENABLED 0, DISABLED 1, DISABLING 2, ENABLING 3.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TableState {
    #[prost(int32, required, tag = "1")]
    pub state: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct GetTableStateResponse {
    #[prost(message, required, tag = "1")]
    pub table_state: TableState,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetTableDescriptorsRequest {
    #[prost(message, repeated, tag = "1")]
    pub table_names: Vec<TableName>,
    #[prost(string, optional, tag = "2")]
    pub regex: Option<String>,
    #[prost(bool, optional, tag = "3")]
    pub include_sys_tables: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetTableDescriptorsResponse {
    #[prost(message, repeated, tag = "1")]
    pub table_schema: Vec<TableSchema>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct IsMasterRunningResponse {
    #[prost(bool, required, tag = "1")]
    pub is_master_running: bool,
}

/// `AdminService` of a region server.
#[derive(Clone, PartialEq, Message)]
pub struct FlushRegionRequest {
    #[prost(message, required, tag = "1")]
    pub region: RegionSpecifier,
    #[prost(uint64, optional, tag = "2")]
    pub if_older_than_ts: Option<u64>,
    #[prost(bool, optional, tag = "3")]
    pub write_flush_wal_marker: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct FlushRegionResponse {
    #[prost(uint64, required, tag = "1")]
    pub last_flush_time: u64,
    #[prost(bool, optional, tag = "2")]
    pub flushed: Option<bool>,
    /// With `flushed` false: there was nothing to flush. Without: another flush is under way.
    #[prost(bool, optional, tag = "3")]
    pub wrote_flush_wal_marker: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetClusterStatusRequest {
    /// HBASE_VERSION 0, CLUSTER_ID 1, LIVE_SERVERS 2, DEAD_SERVERS 3, MASTER 4, ... SERVERS_NAME 10.
    #[prost(int32, repeated, packed = "false", tag = "1")]
    pub options: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HBaseVersion {
    #[prost(string, required, tag = "1")]
    pub version: String,
}

/// The load is skipped over: its fields are those of no interest here.
#[derive(Clone, PartialEq, Message)]
pub struct LiveServerInfo {
    #[prost(message, required, tag = "1")]
    pub server: ServerName,
    #[prost(message, required, tag = "2")]
    pub server_load: Empty,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClusterId {
    #[prost(string, required, tag = "1")]
    pub cluster_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ClusterStatus {
    #[prost(message, optional, tag = "1")]
    pub hbase_version: Option<HBaseVersion>,
    #[prost(message, repeated, tag = "2")]
    pub live_servers: Vec<LiveServerInfo>,
    #[prost(message, repeated, tag = "3")]
    pub dead_servers: Vec<ServerName>,
    #[prost(message, optional, tag = "5")]
    pub cluster_id: Option<ClusterId>,
    #[prost(message, optional, tag = "7")]
    pub master: Option<ServerName>,
    #[prost(message, repeated, tag = "11")]
    pub servers_name: Vec<ServerName>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetClusterStatusResponse {
    #[prost(message, required, tag = "1")]
    pub cluster_status: ClusterStatus,
}
