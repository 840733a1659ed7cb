// Flink SQL on the shop's changes: runs shop.sql in this process and keeps the last document of each order.
//
// java -cp CLASSES:FOLDER OF THIS FILE:JARS Merge shop.sql [KEY=VALUE ...]; one command a line on standard input, one answer a
// line on standard output:
//   run FOLDER    the whole job on the files of FOLDER, to their end; answers "done" and the number of documents
//   plan FOLDER   shows the plan on standard error instead; answers "done"
//   dump FILE     writes the documents of the last run, one a line, as the sink's format printed them; answers "done"

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.EncodingFormat;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.factories.SerializationFormatFactory;
import org.apache.flink.types.RowKind;

public final class Merge {
    /** The last document of each order. */
    static final Map<String, byte[]> KEPT = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        String script = Files.readString(Path.of(arguments[0])).replaceAll("(?m)^--.*$", "");
        List<String> settings = Arrays.asList(arguments).subList(1, arguments.length);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split("\t");
            switch (words[0]) {
                case "run" -> {
                    KEPT.clear();
                    perform(script, words[1], settings, false);
                }
                case "plan" -> perform(script, words[1], settings, true);
                case "dump" -> dump(Path.of(words[1]));
                default -> throw new IllegalArgumentException("unknown command " + words[0]);
            }
            System.out.println("done\t" + KEPT.size());
        }
    }

    /** Every statement in order; the last one is the job. */
    private static void perform(String script, String folder, List<String> settings, boolean planOnly) throws Exception {
        Configuration wanted = new Configuration();
        for (String setting : settings) {
            int at = setting.indexOf('=');
            wanted.setString(setting.substring(0, at), setting.substring(at + 1));
        }
        TableEnvironment tables =
                TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(wanted).build());
        List<String> statements = new ArrayList<>(List.of(script.replace("FOLDER", folder).strip().split(";\\s*")));
        String job = statements.remove(statements.size() - 1);
        statements.forEach(tables::executeSql);
        if (planOnly) {
            System.err.println(tables.explainSql(job));
        } else {
            tables.executeSql(job).await();
        }
    }

    private static void dump(Path file) throws Exception {
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            for (byte[] document : KEPT.values()) {
                out.write(new String(document, StandardCharsets.UTF_8));
                out.newLine();
            }
        }
    }

    /** The connector "kept": an upsert sink that prints each document in its format and keeps it under its first column. */
    public static final class KeptFactory implements DynamicTableSinkFactory {
        @Override
        public String factoryIdentifier() {
            return "kept";
        }

        @Override
        public Set<ConfigOption<?>> requiredOptions() {
            return Set.of(FactoryUtil.FORMAT);
        }

        @Override
        public Set<ConfigOption<?>> optionalOptions() {
            return Set.of();
        }

        @Override
        public DynamicTableSink createDynamicTableSink(Context context) {
            FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
            EncodingFormat<SerializationSchema<RowData>> format =
                    helper.discoverEncodingFormat(SerializationFormatFactory.class, FactoryUtil.FORMAT);
            helper.validate();
            return new KeptTable(format, context);
        }
    }

    private record KeptTable(EncodingFormat<SerializationSchema<RowData>> format, DynamicTableSinkFactory.Context context)
            implements DynamicTableSink {
        @Override
        public ChangelogMode getChangelogMode(ChangelogMode requested) {
            return ChangelogMode.upsert();
        }

        @Override
        public SinkRuntimeProvider getSinkRuntimeProvider(Context sink) {
            return SinkV2Provider.of(new KeptSink(format.createRuntimeEncoder(sink, context.getPhysicalRowDataType())));
        }

        @Override
        public DynamicTableSink copy() {
            return this;
        }

        @Override
        public String asSummaryString() {
            return "kept";
        }
    }

    private record KeptSink(SerializationSchema<RowData> format) implements Sink<RowData> {
        @Override
        public SinkWriter<RowData> createWriter(WriterInitContext context) throws java.io.IOException {
            try {
                format.open(context.asSerializationSchemaInitializationContext());
            } catch (Exception e) {
                throw new java.io.IOException(e);
            }
            return new KeptWriter(format);
        }
    }

    private record KeptWriter(SerializationSchema<RowData> format) implements SinkWriter<RowData> {
        @Override
        public void write(RowData row, Context context) {
            String key = row.getString(0).toString();
            if (row.getRowKind() == RowKind.DELETE) {
                KEPT.remove(key);
            } else {
                KEPT.put(key, format.serialize(row));
            }
        }

        @Override
        public void flush(boolean endOfInput) {}

        @Override
        public void close() {}
    }
}
