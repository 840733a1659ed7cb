// HBase's own client beside ours: plain writes and reads for the cross-check, and the same work for the bench.
//
// Run from its source, with the server's jars, which hold the client: java -cp 'jars/*' Peer.java SERVERS TABLE
// One command a line on standard input, one answer a line on standard output; see main. SERVERS is host:port,host:port of
// masters or region servers; the table is there already.

import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.CompactionState;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Durability;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Increment;
import org.apache.hadoop.hbase.client.Mutation;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Row;
import org.apache.hadoop.hbase.client.RowMutations;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

public final class Peer {
    private static final byte[] DATA = bytes("cf");
    private static final byte[] MARKS = bytes("m");
    private static final byte[] COUNTER = bytes("counter");
    private static final int VALUE_BYTES = 60;

    private final Connection connection;
    private final TableName table;

    private Peer(Connection connection, TableName table) {
        this.connection = connection;
        this.table = table;
    }

    public static void main(String[] args) throws Exception {
        Configuration conf = HBaseConfiguration.create();
        conf.set("hbase.client.registry.impl", "org.apache.hadoop.hbase.client.RpcConnectionRegistry");
        conf.set("hbase.client.bootstrap.servers", args[0]);
        conf.setInt("hbase.client.ipc.pool.size", 2);
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        try (Connection connection = ConnectionFactory.createConnection(conf)) {
            Peer peer = new Peer(connection, TableName.valueOf(args[1]));
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] words = line.split("\t", -1);
                switch (words[0]) {
                    // write ROW FAMILY QUALIFIER TIMESTAMP VALUE, the value in base64
                    case "write" -> out.println(peer.write(words));
                    // read: every cell, as `cell ROW FAMILY QUALIFIER TIMESTAMP VALUE`, then `end`
                    case "read" -> peer.read(out);
                    // flush, compact, split KEY, merge, move KEY PORT (the region of that key to the server on that port): what
                    // an administrator does to the table; ends when it is done
                    case "flush", "compact", "split", "merge", "move" -> out.println(peer.administer(words));
                    // put|mutate|get PREFIX ROWS CELLS BATCH IN_FLIGHT: `done ROWS MICROS CPU_MICROS P50_MICROS P99_MICROS`
                    default -> out.println(peer.work(words));
                }
            }
        }
    }

    private String write(String[] words) throws IOException {
        try (Table open = connection.getTable(table)) {
            Put put = new Put(bytes(words[1]));
            put.addColumn(bytes(words[2]), bytes(words[3]), Long.parseLong(words[4]), Base64.getDecoder().decode(words[5]));
            open.put(put);
        }
        return "ok";
    }

    private void read(PrintStream out) throws IOException {
        try (Table open = connection.getTable(table); ResultScanner rows = open.getScanner(new Scan())) {
            for (Result row : rows) {
                for (Cell cell : row.rawCells()) {
                    String value = Base64.getEncoder().encodeToString(CellUtil.cloneValue(cell));
                    out.println(String.join("\t", "cell", text(CellUtil.cloneRow(cell)), text(CellUtil.cloneFamily(cell)),
                        text(CellUtil.cloneQualifier(cell)), Long.toString(cell.getTimestamp()), value));
                }
            }
        }
        out.println("end");
    }

    private String administer(String[] words) throws Exception {
        try (Admin admin = connection.getAdmin()) {
            List<RegionInfo> regions = admin.getRegions(table);
            switch (words[0]) {
                case "flush" -> admin.flush(table);
                case "compact" -> {
                    admin.flush(table);
                    admin.majorCompact(table);
                    while (admin.getCompactionState(table) != CompactionState.NONE) {
                        Thread.sleep(50);
                    }
                }
                case "split" -> {
                    byte[] key = bytes(words[1]);
                    for (RegionInfo region : regions) {
                        if (region.containsRow(key) && !Arrays.equals(region.getStartKey(), key)) {
                            admin.splitRegionAsync(region.getRegionName(), key).get();
                        }
                    }
                }
                case "move" -> {
                    int port = Integer.parseInt(words[2]);
                    for (ServerName server : admin.getRegionServers()) {
                        for (RegionInfo region : regions) {
                            if (server.getPort() == port && region.containsRow(bytes(words[1]))) {
                                admin.move(region.getEncodedNameAsBytes(), server);
                            }
                        }
                    }
                }
                default -> {
                    if (regions.size() > 1) {
                        byte[][] both = {regions.get(0).getRegionName(), regions.get(1).getRegionName()};
                        admin.mergeRegionsAsync(both, true).get();
                    }
                }
            }
            return "ok";
        } catch (IOException | ExecutionException refused) {
            // A region that is still being split or merged cannot be split again.
            return "refused\t" + refused.getMessage().lines().findFirst().orElse("");
        }
    }

    private String work(String[] words) throws Exception {
        String verb = words[0];
        String prefix = words[1];
        int rows = Integer.parseInt(words[2]);
        int cells = Integer.parseInt(words[3]);
        int batch = Integer.parseInt(words[4]);
        ExecutorService threads = Executors.newFixedThreadPool(Integer.parseInt(words[5]));
        List<Future<Long>> calls = new ArrayList<>();
        long began = System.nanoTime();
        long cpu = cpu();
        for (int first = 0; first < rows; first += batch) {
            int from = first;
            int to = Math.min(first + batch, rows);
            calls.add(threads.submit(() -> call(verb, prefix, from, to, cells)));
        }
        long[] took = new long[calls.size()];
        for (int at = 0; at < took.length; at++) {
            took[at] = calls.get(at).get();
        }
        long spent = cpu() - cpu;
        long wall = System.nanoTime() - began;
        threads.shutdown();
        Arrays.sort(took);
        return String.join("\t", "done", Integer.toString(rows), Long.toString(wall / 1000), Long.toString(spent / 1000),
            Long.toString(took[took.length / 2] / 1000), Long.toString(took[took.length * 99 / 100] / 1000));
    }

    private long call(String verb, String prefix, int from, int to, int cells) throws Exception {
        long began = System.nanoTime();
        try (Table open = connection.getTable(table)) {
            switch (verb) {
                case "put" -> {
                    List<Put> puts = new ArrayList<>(to - from);
                    for (int n = from; n < to; n++) {
                        puts.add(put(prefix, n, cells));
                    }
                    open.put(puts);
                }
                case "mutate" -> {
                    List<Row> actions = new ArrayList<>(to - from);
                    for (int n = from; n < to; n++) {
                        Put put = put(prefix, n, cells);
                        Increment bump = new Increment(put.getRow()).addColumn(MARKS, COUNTER, 1);
                        bump.setDurability(Durability.SYNC_WAL).setReturnResults(false);
                        actions.add(RowMutations.of(Arrays.<Mutation>asList(put, bump)));
                    }
                    open.batch(actions, new Object[actions.size()]);
                }
                case "get" -> {
                    List<Get> gets = new ArrayList<>(to - from);
                    for (int n = from; n < to; n++) {
                        gets.add(new Get(row(prefix, n)));
                    }
                    for (Result result : open.get(gets)) {
                        if (result.size() < cells) {
                            throw new IOException("a row of " + result.size() + " cells; wanted are " + cells);
                        }
                    }
                }
                default -> throw new IOException("unknown: " + verb + "; allowed: write, read, put, mutate, get");
            }
        }
        return System.nanoTime() - began;
    }

    private static Put put(String prefix, int n, int cells) {
        Put put = new Put(row(prefix, n)).setDurability(Durability.SYNC_WAL);
        for (int c = 0; c < cells; c++) {
            byte[] value = new byte[VALUE_BYTES];
            Arrays.fill(value, (byte) '.');
            byte[] start = bytes(n + "/" + c);
            System.arraycopy(start, 0, value, 0, start.length);
            put.addColumn(DATA, bytes("orders:column" + (char) ('a' + c)), n + 1L, value);
        }
        return put;
    }

    private static byte[] row(String prefix, int n) {
        return bytes(String.format("%s%08d", prefix, n));
    }

    private static long cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
