-- Each batch asks whether its partitions are doubtful, and whether its streams are held up and where. Whoever floods a topic
-- must not make that slower with every record that is parked.
create index parked_doubtful on engine.parked (consumer, topic, partition) where reason in ('unreadable', 'unparsable');
create index parked_held on engine.parked (consumer, stream, version) where holds_stream;
drop index engine.parked_consumer_stream_idx;
