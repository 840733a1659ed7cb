import com.alibaba.otter.canal.common.alarm.LogAlarmHandler;
import com.alibaba.otter.canal.connector.kafka.producer.CanalKafkaProducer;
import com.alibaba.otter.canal.filter.aviater.AviaterRegexFilter;
import com.alibaba.otter.canal.instance.core.CanalMQConfig;
import com.alibaba.otter.canal.instance.spring.CanalInstanceWithSpring;
import com.alibaba.otter.canal.meta.FileMixedMetaManager;
import com.alibaba.otter.canal.parse.ha.HeartBeatHAController;
import com.alibaba.otter.canal.parse.inbound.mysql.MysqlEventParser;
import com.alibaba.otter.canal.parse.index.FailbackLogPositionManager;
import com.alibaba.otter.canal.parse.index.MemoryLogPositionManager;
import com.alibaba.otter.canal.parse.index.MetaLogPositionManager;
import com.alibaba.otter.canal.parse.support.AuthenticationInfo;
import com.alibaba.otter.canal.protocol.position.EntryPosition;
import com.alibaba.otter.canal.server.CanalMQStarter;
import com.alibaba.otter.canal.server.embedded.CanalServerWithEmbedded;
import com.alibaba.otter.canal.sink.entry.EntryEventSink;
import com.alibaba.otter.canal.store.memory.MemoryEventStoreWithBuffer;
import com.alibaba.otter.canal.store.model.BatchMode;
import java.io.File;
import java.io.FileInputStream;
import java.net.InetSocketAddress;
import java.util.Properties;

/** Canal as its own deployer runs it with a file instance and Kafka, without its folders and its console. */
public class Server {
    static final String INSTANCE = "shop";

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            settings.load(file);
        }
        // Clients come through Kafka alone, which wants parsed rows.
        System.setProperty("canal.withoutNetty", "true");
        System.setProperty("canal.instance.memory.rawEntry", "false");
        CanalKafkaProducer producer = new CanalKafkaProducer();
        producer.init(settings);
        CanalServerWithEmbedded server = CanalServerWithEmbedded.instance();
        server.setCanalInstanceGenerator(name -> instance(settings));
        server.start();
        CanalMQStarter messages = new CanalMQStarter(producer);
        server.start(INSTANCE);
        messages.start(INSTANCE);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            messages.destroy();
            server.stop(INSTANCE);
            server.stop();
        }));
        Thread.currentThread().join();
    }

    static CanalInstanceWithSpring instance(Properties settings) {
        LogAlarmHandler alarm = new LogAlarmHandler();
        FileMixedMetaManager meta = new FileMixedMetaManager();
        meta.setDataDirByFile(new File(settings.getProperty("widerow.data")));
        meta.setPeriod(1000);
        MemoryEventStoreWithBuffer store = new MemoryEventStoreWithBuffer();
        store.setBufferSize(16384);
        store.setBufferMemUnit(1024);
        store.setBatchMode(BatchMode.MEMSIZE);
        store.setDdlIsolation(false);
        store.setRaw(false);
        EntryEventSink sink = new EntryEventSink();
        sink.setEventStore(store);

        CanalMQConfig topic = new CanalMQConfig();
        topic.setTopic(settings.getProperty("canal.mq.topic"));
        topic.setPartitionsNum(Integer.valueOf(settings.getProperty("canal.mq.partitionsNum")));
        topic.setPartitionHash(settings.getProperty("canal.mq.partitionHash"));
        topic.setPartition(0);
        topic.setEnableDynamicQueuePartition(false);

        CanalInstanceWithSpring instance = new CanalInstanceWithSpring();
        instance.setDestination(INSTANCE);
        instance.setAlarmHandler(alarm);
        instance.setMetaManager(meta);
        instance.setEventStore(store);
        instance.setEventSink(sink);
        instance.setEventParser(parser(settings, meta, alarm, sink));
        instance.setMqConfig(topic);
        return instance;
    }

    static MysqlEventParser parser(Properties settings, FileMixedMetaManager meta, LogAlarmHandler alarm, EntryEventSink sink) {
        AuthenticationInfo database = new AuthenticationInfo();
        int port = Integer.parseInt(settings.getProperty("widerow.database"));
        database.setAddress(new InetSocketAddress("127.0.0.1", port));
        database.setUsername("widerow");
        database.setPassword("widerow");
        database.setDefaultDatabaseName("");
        // The whole log on the first start; later where it stopped.
        EntryPosition first = new EntryPosition();
        first.setJournalName("binlog.000001");
        first.setPosition(4L);

        MysqlEventParser parser = new MysqlEventParser();
        parser.setDestination(INSTANCE);
        parser.setAlarmHandler(alarm);
        parser.setEventSink(sink);
        parser.setMasterInfo(database);
        parser.setMasterPosition(first);
        parser.setSlaveId(5412);
        parser.setDetectingEnable(false);
        parser.setHaController(new HeartBeatHAController());
        parser.setEventFilter(new AviaterRegexFilter("shop\\..*"));
        parser.setEventBlackFilter(new AviaterRegexFilter("mysql\\..*", false));
        parser.setConnectionCharset("UTF-8");
        parser.setLogPositionManager(
                new FailbackLogPositionManager(new MemoryLogPositionManager(), new MetaLogPositionManager(meta)));
        parser.setIsGTIDMode(false);
        parser.setEnableTsdb(false);
        parser.setFilterQueryDml(false);
        parser.setSupportBinlogFormats("ROW,STATEMENT,MIXED");
        parser.setSupportBinlogImages("FULL,MINIMAL,NOBLOB");
        parser.setParallel(true);
        parser.setParallelBufferSize(256);
        return parser;
    }
}
