package common;

import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;

/** What all jobs are run with: exactly once, a commit every 100 ms, their input from its beginning. */
public final class Settings {
  private Settings() {}

  public static Properties of(String kafka, String application, String threads, String folder) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", kafka);
    settings.put("application.id", application);
    settings.put("num.stream.threads", threads);
    settings.put("state.dir", folder);
    settings.put("processing.guarantee", "exactly_once_v2");
    settings.put("commit.interval.ms", "100");
    settings.put("auto.offset.reset", "earliest");
    settings.put("producer.compression.type", "lz4");
    settings.put("default.key.serde", Serdes.StringSerde.class.getName());
    settings.put("default.value.serde", Serdes.StringSerde.class.getName());
    return settings;
  }
}
