package nexmark;

import static java.time.Duration.ofDays;
import static java.time.Duration.ofHours;
import static java.time.Duration.ofMinutes;
import static java.time.Duration.ofSeconds;
import static org.apache.kafka.streams.KeyValue.pair;
import static org.apache.kafka.streams.kstream.EmitStrategy.onWindowClose;

import common.Settings;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.function.ToLongFunction;
import nexmark.Rows.Auction;
import nexmark.Rows.Bid;
import nexmark.Rows.Enriched;
import nexmark.Rows.Highest;
import nexmark.Rows.Hottest;
import nexmark.Rows.InEuro;
import nexmark.Rows.NewSeller;
import nexmark.Rows.Newcomer;
import nexmark.Rows.Offer;
import nexmark.Rows.Person;
import nexmark.Rows.Price;
import nexmark.Rows.Suggestion;
import nexmark.Rows.Sum;
import nexmark.Rows.Window;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.WallclockTimestampExtractor;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The queries of queries.py on Kafka Streams: the same topics, steps, windows and graces.
 *
 * <p>Its arguments are the broker's address, what the input topics' names begin with, what the
 * application's and its output's begin with, the query's number, the number of threads and a
 * folder for state. Query 6 is not among them: without a record for them its last sessions stay
 * open here.
 */
public final class Nexmark {
  private static final Duration GRACE = ofSeconds(4);
  private static final Duration BEHIND = ofHours(1);
  private static final Duration KEPT = ofDays(1);
  private static final Duration LONGEST = ofMinutes(1);
  private static final Set<String> LOCAL = Set.of("OR", "ID", "CA");
  private static final long SIZE = 10_000;
  private static final long SIDE_ROWS = 10_000;

  private static final Serde<Long> ID = Serdes.Long();
  private static final Serde<Long> NUMBER = Json.of(Long.class);
  private static final Serde<Person> PERSON = Json.of(Person.class);
  private static final Serde<Auction> AUCTION = Json.of(Auction.class);
  private static final Serde<Bid> BID = Json.of(Bid.class);
  private static final Serde<Offer> OFFER = Json.of(Offer.class);

  private final StreamsBuilder builder = new StreamsBuilder();
  private final String prefix;
  private final String output;

  private Nexmark(String prefix, String application) {
    this.prefix = prefix;
    this.output = application + "-results";
  }

  private KStream<Long, Person> persons() {
    return stream("persons", PERSON, Person::dateTime);
  }

  private KStream<Long, Auction> auctions() {
    return stream("auctions", AUCTION, Auction::dateTime);
  }

  private KStream<Long, Bid> bids() {
    return stream("bids", BID, Bid::dateTime);
  }

  @SuppressWarnings("unchecked")
  private <V> KStream<Long, V> stream(String kind, Serde<V> rows, ToLongFunction<V> time) {
    TimestampExtractor timestamp = (record, highest) -> time.applyAsLong((V) record.value());
    return builder.stream(
        prefix + "-" + kind, Consumed.with(ID, rows).withTimestampExtractor(timestamp));
  }

  private <K, V> void write(KStream<K, V> rows, Serde<K> keys, Class<V> type) {
    rows.to(output, Produced.with(keys, Json.of(type)));
  }

  private void query(int number) {
    switch (number) {
      case 0 -> write(bids(), ID, Bid.class);
      case 1 -> write(bids().mapValues(bid -> new InEuro(bid)), ID, InEuro.class);
      case 2 -> q2();
      case 3 -> q3();
      case 4 -> q4();
      case 5 -> q5();
      case 7 -> q7();
      case 8 -> q8();
      case 11 -> q11();
      case 12 -> q12();
      case 13 -> q13();
      default -> throw new IllegalArgumentException("there is no query " + number);
    }
  }

  /**
   * A store for windows that tell when they close: it keeps them longer than they wait for records.
   *
   * <p>What is to be told is looked for once a second only, in which much more time passes by the
   * records that are caught up with; what the store has given up by then is never told. And the
   * first look goes through all time since 1970, in steps of half of what is kept: an hour makes
   * that last for seconds.
   */
  private static <V> Materialized<Long, V, WindowStore<Bytes, byte[]>> kept(Serde<V> rows) {
    return Materialized.<Long, V, WindowStore<Bytes, byte[]>>with(ID, rows).withRetention(KEPT);
  }

  private void q2() {
    KStream<Long, Bid> chosen = bids().filter((key, bid) -> bid.auction() % 123 == 0);
    write(chosen.mapValues(bid -> new Price(bid.auction(), bid.price())), ID, Price.class);
  }

  private void q3() {
    KTable<Long, Person> local =
        persons()
            .toTable(Materialized.with(ID, PERSON))
            .filter((key, person) -> LOCAL.contains(person.state()));
    KTable<Long, Auction> offered =
        auctions()
            .filter((key, auction) -> auction.category() == 10)
            .toTable(Materialized.with(ID, AUCTION));
    KTable<Long, Suggestion> suggestions =
        offered.join(
            local,
            Auction::seller,
            Suggestion::new,
            Materialized.with(ID, Json.of(Suggestion.class)));
    write(suggestions.toStream(), ID, Suggestion.class);
  }

  /** By auction: bids from its beginning until it expires. */
  private KStream<Long, Offer> offers() {
    JoinWindows after = JoinWindows.ofTimeDifferenceAndGrace(Duration.ZERO, GRACE).after(LONGEST);
    return auctions()
        .join(bids(), Offer::new, after, StreamJoined.with(ID, AUCTION, BID))
        .filter((key, offer) -> offer.dateTime() <= offer.expires());
  }

  private void q4() {
    KTable<Long, Sum> categories =
        offers()
            .groupByKey(Grouped.with(ID, OFFER))
            .reduce(Offer::higher)
            .groupBy((key, offer) -> pair((long) offer.category(), offer), Grouped.with(ID, OFFER))
            .aggregate(
                () -> new Sum(0, 0),
                (key, offer, prices) -> prices.plus(offer.price()),
                (key, offer, prices) -> prices.minus(offer.price()),
                Materialized.with(ID, Json.of(Sum.class)));
    write(categories.mapValues(Sum::mean).toStream(), NUMBER, Long.class);
  }

  /** A window's count under the window's end, and at its last millisecond. */
  private static final class ByWindow
      extends ContextualProcessor<Windowed<Long>, Long, Long, Hottest> {
    @Override
    public void process(Record<Windowed<Long>, Long> row) {
      long end = row.key().window().end();
      Hottest hottest = new Hottest(row.value(), List.of(row.key().key()));
      context().forward(row.withKey(end).withValue(hottest).withTimestamp(end - 1));
    }
  }

  private void q5() {
    TimeWindows hopping = TimeWindows.ofSizeAndGrace(ofSeconds(10), GRACE).advanceBy(ofSeconds(2));
    KTable<Windowed<Long>, Hottest> hottest =
        bids()
            .groupByKey(Grouped.with(ID, BID))
            .windowedBy(hopping)
            .emitStrategy(onWindowClose())
            .count(kept(Serdes.Long()))
            .toStream()
            .process(ByWindow::new)
            .groupByKey(Grouped.with(ID, Json.of(Hottest.class)))
            .windowedBy(TimeWindows.ofSizeAndGrace(ofSeconds(2), BEHIND))
            .reduce(Hottest::hotter);
    write(hottest.toStream((window, each) -> window.key()), ID, Hottest.class);
  }

  private void q7() {
    TimeWindows ofAuctions = TimeWindows.ofSizeAndGrace(ofSeconds(10), GRACE);
    Serde<Highest> rows = Json.of(Highest.class);
    KTable<Windowed<Long>, Highest> highest =
        bids()
            .mapValues(bid -> new Highest(bid))
            .groupByKey(Grouped.with(ID, rows))
            .windowedBy(ofAuctions)
            .emitStrategy(onWindowClose())
            .reduce(Highest::higher, kept(rows))
            .toStream((window, each) -> window.window().start())
            .groupByKey(Grouped.with(ID, rows))
            .windowedBy(TimeWindows.ofSizeAndGrace(ofSeconds(10), BEHIND))
            .reduce(Highest::higher);
    write(highest.toStream((window, each) -> window.key()), ID, Highest.class);
  }

  private void q8() {
    KTable<Long, NewSeller> once =
        persons()
            .join(
                auctions().selectKey((key, auction) -> auction.seller()),
                Newcomer::new,
                JoinWindows.ofTimeDifferenceAndGrace(ofSeconds(10), BEHIND),
                StreamJoined.with(ID, PERSON, AUCTION))
            .filter((key, each) -> each.came() / SIZE == each.opened() / SIZE)
            .mapValues(each -> new NewSeller(each.id(), each.name(), each.came() / SIZE * SIZE))
            .groupByKey(Grouped.with(ID, Json.of(NewSeller.class)))
            .reduce((first, other) -> first);
    write(once.toStream(), ID, NewSeller.class);
  }

  private void q11() {
    KTable<Windowed<Long>, Long> sessions =
        bids()
            .groupBy((key, bid) -> bid.bidder(), Grouped.with(ID, BID))
            .windowedBy(SessionWindows.ofInactivityGapAndGrace(ofSeconds(10), BEHIND))
            .count();
    KStream<Window, Long> rows =
        sessions.toStream(
            (each, count) ->
                new Window(each.key(), each.window().start(), each.window().end() + 1));
    write(rows, Json.of(Window.class), Long.class);
  }

  private void q12() {
    Consumed<Long, Bid> now =
        Consumed.with(ID, BID).withTimestampExtractor(new WallclockTimestampExtractor());
    KTable<Windowed<Long>, Long> counts =
        builder
            .stream(prefix + "-bids", now)
            .groupBy((key, bid) -> bid.bidder(), Grouped.with(ID, BID))
            .windowedBy(TimeWindows.ofSizeAndGrace(ofSeconds(10), GRACE))
            .emitStrategy(onWindowClose())
            .count();
    KStream<Window, Long> rows =
        counts.toStream(
            (each, count) -> new Window(each.key(), each.window().start(), each.window().end()));
    write(rows, Json.of(Window.class), Long.class);
  }

  private void q13() {
    GlobalKTable<Long, String> side =
        builder.globalTable(prefix + "-side-input", Consumed.with(ID, Serdes.String()));
    KStream<Long, Enriched> enriched =
        bids().join(side, (key, bid) -> bid.auction() % SIDE_ROWS, Enriched::new);
    write(enriched, ID, Enriched.class);
  }

  public static void main(String[] args) {
    String application = args[2] + "-q" + args[3];
    Nexmark nexmark = new Nexmark(args[1], application);
    nexmark.query(Integer.parseInt(args[3]));
    Properties settings = Settings.of(args[0], application, args[4], args[5]);
    settings.put("default.key.serde", Serdes.LongSerde.class.getName());
    KafkaStreams streams = new KafkaStreams(nexmark.builder.build(), settings);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(ofSeconds(20))));
    streams.start();
  }
}
