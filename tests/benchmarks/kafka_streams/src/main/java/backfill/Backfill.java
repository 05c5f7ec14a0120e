package backfill;

import static java.time.Duration.ofDays;
import static java.time.Duration.ofHours;
import static java.time.Duration.ofSeconds;

import common.Settings;
import java.util.Properties;
import org.apache.kafka.common.Metric;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Counts records by their value and day, behind a repartition, and says how many were dropped.
 *
 * <p>Its arguments are the broker's address, the input topic, the application's name, the number of
 * threads, a folder for state, and the number of records.
 */
public final class Backfill {
  public static void main(String[] args) throws InterruptedException {
    Properties settings = Settings.of(args[0], args[2], args[3], args[4]);
    StreamsBuilder builder = new StreamsBuilder();
    builder.<String, String>stream(args[1])
        .groupBy((key, value) -> value, Grouped.as("other"))
        .windowedBy(TimeWindows.ofSizeAndGrace(ofDays(1), ofHours(1)))
        .count();
    long expected = Long.parseLong(args[5]);
    try (KafkaStreams streams = new KafkaStreams(builder.build(settings), settings)) {
      streams.start();
      // Both subtopologies have worked on each record, and nothing more comes for a while.
      double before = -1;
      for (double done; (done = sum(streams, "thread", "process-total")) < 2 * expected
          || done > before; ) {
        before = done;
        Thread.sleep(2000);
      }
      System.out.printf("late=%.0f%n", sum(streams, "task", "dropped-records-total"));
      streams.close(ofSeconds(10));
    }
  }

  private static double sum(KafkaStreams streams, String level, String name) {
    String group = "stream-" + level + "-metrics";
    return streams.metrics().values().stream()
        .filter(metric -> metric.metricName().name().equals(name))
        .filter(metric -> metric.metricName().group().equals(group))
        .map(Metric::metricValue)
        .mapToDouble(value -> ((Number) value).doubleValue())
        .sum();
  }
}
