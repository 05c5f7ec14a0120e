# Kafka for the tests in containers, with the KAFKA_* variables of the official image; see `build`.
ARG BASE
FROM ${BASE}
COPY java /opt/java
COPY libs /opt/kafka/libs
COPY run-kafka /opt/kafka/
EXPOSE 9092
CMD ["/opt/kafka/run-kafka"]
