package peers;

import static java.time.Duration.ofMillis;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import common.Settings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * The workloads on Kafka Streams, with the times of workloads.py.
 *
 * <p>Arguments: broker, workload, run, threads, folder for state, settings as NAME=VALUE.
 */
public final class Peers {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final Duration WINDOW = ofMillis(10_000);
  private static final Duration GAP = ofMillis(1_000);
  private static final Duration WITHIN = ofMillis(100);
  private static final Duration GRACE = ofMillis(1_000);

  private static final Serde<String> TEXT = Serdes.String();
  private static final Serde<byte[]> RAW = Serdes.ByteArray();
  private static final Serde<Long> NUMBER = Serdes.Long();
  private static final Serde<ObjectNode> JSON =
      Serdes.serdeFrom((topic, node) -> write(node), (topic, bytes) -> read(bytes));

  private final StreamsBuilder builder = new StreamsBuilder();
  private final String output;

  private Peers(String run) {
    this.output = run + "-results";
  }

  private static byte[] write(ObjectNode node) {
    try {
      return MAPPER.writeValueAsBytes(node);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ObjectNode read(byte[] bytes) {
    try {
      return bytes == null ? null : (ObjectNode) MAPPER.readTree(bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private KStream<String, ObjectNode> orders() {
    return builder.stream("peers-input", Consumed.with(TEXT, JSON));
  }

  private KStream<String, byte[]> unread() {
    return builder.stream("peers-input", Consumed.with(TEXT, RAW));
  }

  private void results(KStream<String, ObjectNode> rows) {
    rows.to(output, Produced.with(TEXT, JSON));
  }

  private void define(String workload) {
    switch (workload) {
      case "map" ->
          results(
              orders()
                  .filter((user, order) -> order.get("amount").asInt() >= 500)
                  .mapValues(order -> order.put("big", true)));
      case "count" ->
          unread()
              .groupByKey()
              .count()
              .toStream()
              .mapValues(count -> Long.toString(count))
              .to(output, Produced.with(TEXT, TEXT));
      case "sum" ->
          results(
              orders()
                  .mapValues(order -> order.get("amount").asLong())
                  .groupByKey(Grouped.with(TEXT, NUMBER))
                  .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
                  .reduce(Long::sum)
                  .toStream()
                  .map((window, sum) -> result(window, "sum", sum)));
      case "enrich" ->
          results(
              orders()
                  .join(
                      builder.table("peers-table", Consumed.with(TEXT, JSON)),
                      (order, row) -> (ObjectNode) order.setAll(row),
                      Joined.with(TEXT, JSON, JSON)));
      case "sessions" ->
          results(
              unread()
                  .groupByKey()
                  .windowedBy(SessionWindows.ofInactivityGapAndGrace(GAP, GRACE))
                  .count(Materialized.with(TEXT, NUMBER))
                  .toStream()
                  .filter((window, count) -> count != null)
                  .map((window, count) -> result(window, "count", count)));
      case "join" ->
          results(
              orders()
                  .join(
                      builder.stream("peers-payments", Consumed.with(TEXT, JSON)),
                      (order, payment) ->
                          order
                              .deepCopy()
                              .put("paid", payment.get("amount").asLong())
                              .put("at", payment.get("ts").asLong()),
                      JoinWindows.ofTimeDifferenceAndGrace(WITHIN, GRACE),
                      StreamJoined.with(TEXT, JSON, JSON)));
      default -> throw new IllegalArgumentException(workload);
    }
  }

  private static KeyValue<String, ObjectNode> result(
      Windowed<String> window, String name, Long value) {
    ObjectNode row = MAPPER.createObjectNode().put("start", window.window().start());
    return KeyValue.pair(window.key(), row.put(name, value));
  }

  public static void main(String[] arguments) {
    Peers peers = new Peers(arguments[2]);
    peers.define(arguments[1]);
    Properties settings = Settings.of(arguments[0], arguments[2], arguments[3], arguments[4]);
    for (String each : Arrays.asList(arguments).subList(5, arguments.length)) {
      String[] parts = each.split("=", 2);
      settings.put(parts[0], parts[1]);
    }
    KafkaStreams streams = new KafkaStreams(peers.builder.build(), settings);
    Runtime.getRuntime()
        .addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
    streams.start();
  }
}
