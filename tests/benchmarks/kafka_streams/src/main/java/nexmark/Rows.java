package nexmark;

import java.util.List;
import java.util.stream.Stream;

/** What goes through the queries: the events, and what is made of them. */
final class Rows {
  private Rows() {}

  record Person(
      long id,
      String name,
      String email,
      String creditCard,
      String city,
      String state,
      long dateTime,
      String extra) {}

  record Auction(
      long id,
      String itemName,
      String description,
      long initialBid,
      long reserve,
      long dateTime,
      long expires,
      long seller,
      int category,
      String extra) {}

  record Bid(
      long auction,
      long bidder,
      long price,
      String channel,
      String url,
      long dateTime,
      String extra) {}

  record InEuro(long auction, long bidder, double price, long dateTime, String extra) {
    InEuro(Bid bid) {
      this(bid.auction, bid.bidder, 0.908 * bid.price, bid.dateTime, bid.extra);
    }
  }

  record Price(long auction, long price) {}

  record Suggestion(String name, String city, String state, long id) {
    Suggestion(Auction auction, Person person) {
      this(person.name, person.city, person.state, auction.id);
    }
  }

  /** A bid, and what matters of its auction. */
  record Offer(long auction, long seller, int category, long expires, long price, long dateTime) {
    Offer(Auction of, Bid bid) {
      this(of.id, of.seller, of.category, of.expires, bid.price, bid.dateTime);
    }

    static Offer higher(Offer one, Offer other) {
      return other.price > one.price ? other : one;
    }
  }

  /** So many prices, and their sum. */
  record Sum(long number, long total) {
    Sum plus(long price) {
      return new Sum(number + 1, total + price);
    }

    Sum minus(long price) {
      return new Sum(number - 1, total - price);
    }

    Long mean() {
      return number == 0 ? null : (Long) (total / number);
    }
  }

  /** The auctions with the most bids of all. */
  record Hottest(long number, List<Long> auctions) {
    static Hottest hotter(Hottest one, Hottest other) {
      if (one.number != other.number) {
        return one.number > other.number ? one : other;
      }
      Stream<Long> all = Stream.concat(one.auctions.stream(), other.auctions.stream());
      return new Hottest(one.number, all.distinct().sorted().toList());
    }
  }

  /** The bids with the highest price of all. */
  record Highest(long price, List<Bid> bids) {
    Highest(Bid bid) {
      this(bid.price, List.of(bid));
    }

    static Highest higher(Highest one, Highest other) {
      if (one.price != other.price) {
        return one.price > other.price ? one : other;
      }
      Stream<Bid> all = Stream.concat(one.bids.stream(), other.bids.stream());
      return new Highest(one.price, all.toList());
    }
  }

  /** A person, and the times of arrival and of an auction. */
  record Newcomer(long id, String name, long came, long opened) {
    Newcomer(Person person, Auction auction) {
      this(person.id, person.name, person.dateTime, auction.dateTime);
    }
  }

  record NewSeller(long id, String name, long start) {}

  /** A window of a key; its end is just behind it. */
  record Window(long key, long start, long end) {}

  record Enriched(long auction, long bidder, long price, long dateTime, String value) {
    Enriched(Bid bid, String value) {
      this(bid.auction, bid.bidder, bid.price, bid.dateTime, value);
    }
  }
}
