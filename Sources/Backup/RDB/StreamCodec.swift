internal import Glibc

/// The id of an entry of a stream.
package struct StreamID: Equatable, Comparable, Sendable {
    var milliseconds: UInt64
    var sequence: UInt64

    static let zero = StreamID(milliseconds: 0, sequence: 0)

    package static func < (left: Self, right: Self) -> Bool {
        (left.milliseconds, left.sequence) < (right.milliseconds, right.sequence)
    }
}

/// How a stream is written.
package enum StreamForm: UInt8, Sendable {
    /// Redis 5.0 to 6.2: no first id, highest deleted id, counters.
    case type15 = 15
    /// Redis 7.0: no active time of consumers.
    case type19 = 19
    /// Redis 7.2 and Valkey.
    case type21 = 21
    /// Redis 8.6: with idempotent producers.
    case type26 = 26
}

/// Reads streams of types 15, 19, 21 and 26 and writes them in one deterministic form, so that the same stream gives
/// the same bytes whatever server it came from and however its nodes were cut.
///
/// Entries are written into nodes of at most 100 entries or about 4096 bytes (the servers' defaults), live ones
/// only; groups and consumers by name, pending entries by id; numbers in their shortest form. What older types lack is
/// filled as a server does that loads them (redis/src/rdb.c, `rdbLoadObject`): counters from the entries, the active
/// time of a consumer from its seen time. The first id is always that of the first live entry, or 0-0.
struct StreamCodec {
    private static let unknownCount = UInt64.max

    private struct Pending {
        var id: StreamID
        var delivered: Int64
        var count: UInt64
    }

    private struct Consumer {
        var name: Piece
        var seen: Int64
        var active: Int64
        var pending: [StreamID] = []
    }

    private struct Group {
        var name: Piece
        var lastDelivered: StreamID
        var entriesRead: UInt64
        var pending: [Pending] = []
        var consumers: [Consumer] = []
    }

    private struct Totals {
        var length: UInt64 = 0
        var last = StreamID.zero
        var first = StreamID.zero
        var maxDeleted = StreamID.zero
        var added: UInt64 = 0
    }

    /// What Redis 8.6 keeps beside a stream: settings and the messages that it knows already.
    private struct Producers {
        /// The server's defaults for `XCFGSET`: seconds, and messages of a producer.
        static let defaults: (UInt64, UInt64) = (100, 100)
        var duration = Self.defaults.0
        var maximum = Self.defaults.1
        var producers: [(name: Piece, messages: [(id: Piece, milliseconds: UInt64, sequence: UInt64)])] = []
        var added: UInt64 = 0
        var duplicates: UInt64 = 0

        var isDefault: Bool {
            (duration, maximum) == Self.defaults && producers.isEmpty && added == 0 && duplicates == 0
        }
    }

    let arena: ByteArena

    /// Appends the type's byte, then the value.
    /// - Parameter form: nil for the canonical form: 21, or 26 where producers say something.
    func transcode(
        _ value: UnsafeRawBufferPointer, type: UInt8, as form: StreamForm?, to output: inout [UInt8]
    ) throws(RDBError) {
        var reader = ByteReader(value)
        var nodes: [UInt8] = []
        var writer = NodeWriter()
        let (first, live) = try readEntries(&reader, &writer, &nodes)
        var totals = Totals()
        totals.length = try reader.length()
        guard totals.length == live else { throw RDBError(.malformed, "a stream's length") }
        totals.last = try id(&reader)
        totals.first = first ?? .zero
        if type >= 19 {
            _ = try id(&reader)
            totals.maxDeleted = try id(&reader)
            totals.added = try reader.length()
        } else {
            totals.added = totals.length
        }
        let groups = try readGroups(&reader, type: type, totals)
        let producers = type >= 26 ? try readProducers(&reader) : Producers()
        guard reader.isAtEnd else { throw RDBError(.malformed, "bytes after a stream") }

        let target = form ?? (producers.isDefault ? .type21 : .type26)
        output.append(target.rawValue)
        RDBWriter.length(UInt64(writer.count), to: &output)
        output.append(contentsOf: nodes)
        RDBWriter.length(totals.length, to: &output)
        write(totals.last, to: &output)
        if target != .type15 {
            write(totals.first, to: &output)
            write(totals.maxDeleted, to: &output)
            RDBWriter.length(totals.added, to: &output)
        }
        RDBWriter.length(UInt64(groups.count), to: &output)
        for group in groups { write(group, target, to: &output) }
        if target == .type26 { write(producers, to: &output) }
    }

    // MARK: reading

    private func readEntries(
        _ reader: inout ByteReader, _ writer: inout NodeWriter, _ nodes: inout [UInt8]
    ) throws(RDBError) -> (first: StreamID?, live: UInt64) {
        var first: StreamID?
        var live: UInt64 = 0
        var master: [PackedEntry] = []
        var fields: [PackedEntry] = []
        for _ in 0..<(try reader.count(least: 2)) {
            let base = try StreamCodec.baseID(try reader.string(arena))
            var list = try ListpackReader(try reader.string(arena))
            let count = try list.need().number()
            let deleted = try list.need().number()
            master.removeAll(keepingCapacity: true)
            let masters = try list.need().number()
            guard masters >= 0, count >= 0, deleted >= 0 else { throw RDBError(.malformed, "a stream's node") }
            for _ in 0..<masters { master.append(try list.need()) }
            guard try list.need().number() == 0 else { throw RDBError(.malformed, "a stream's node") }
            var seen: (live: Int64, deleted: Int64) = (0, 0)
            while let head = try list.next() {
                let flags = try head.number()
                let milliseconds = try list.need().number()
                let sequence = try list.need().number()
                fields.removeAll(keepingCapacity: true)
                let isSame = flags & 2 != 0
                if isSame {
                    for name in master {
                        fields.append(name)
                        fields.append(try list.need())
                    }
                } else {
                    let pairs = try list.need().number()
                    guard pairs >= 0 else { throw RDBError(.malformed, "an entry of a stream") }
                    for _ in 0..<pairs {
                        fields.append(try list.need())
                        fields.append(try list.need())
                    }
                }
                let back = isSame ? masters + 3 : Int64(fields.count) + 4
                guard try list.need().number() == back else { throw RDBError(.malformed, "an entry of a stream") }
                if flags & 1 != 0 {
                    seen.deleted += 1
                    continue
                }
                seen.live += 1
                let id = StreamID(
                    milliseconds: base.milliseconds &+ UInt64(bitPattern: milliseconds),
                    sequence: base.sequence &+ UInt64(bitPattern: sequence))
                if first == nil { first = id }
                writer.add(id, fields, to: &nodes)
            }
            guard seen == (count, deleted) else { throw RDBError(.malformed, "a stream's count of entries") }
            live += UInt64(count)
        }
        writer.close(to: &nodes)
        return (first, live)
    }

    private static func baseID(_ piece: Piece) throws(RDBError) -> StreamID {
        guard piece.count == 16 else { throw RDBError(.malformed, "a stream's id") }
        var reader = ByteReader(piece.bytes)
        return StreamID(milliseconds: try reader.big(UInt64.self), sequence: try reader.big(UInt64.self))
    }

    private func id(_ reader: inout ByteReader) throws(RDBError) -> StreamID {
        StreamID(milliseconds: try reader.length(), sequence: try reader.length())
    }

    private func readGroups(_ reader: inout ByteReader, type: UInt8, _ totals: Totals) throws(RDBError) -> [Group] {
        var groups: [Group] = []
        for _ in 0..<(try reader.count(least: 5)) {
            let name = try reader.string(arena)
            let last = try id(&reader)
            let read = type >= 19 ? try reader.length() : Self.estimatedRead(last, totals)
            var group = Group(name: name, lastDelivered: last, entriesRead: read)
            for _ in 0..<(try reader.count(least: 25)) {
                let id = try Self.baseID(try reader.take(16))
                let delivered = try reader.little(Int64.self)
                group.pending.append(Pending(id: id, delivered: delivered, count: try reader.length()))
            }
            for _ in 0..<(try reader.count(least: 10)) {
                let name = try reader.string(arena)
                let seen = try reader.little(Int64.self)
                let active = type >= 21 ? try reader.little(Int64.self) : seen
                var consumer = Consumer(name: name, seen: seen, active: active)
                for _ in 0..<(try reader.count(least: 16)) {
                    consumer.pending.append(try Self.baseID(try reader.take(16)))
                }
                consumer.pending.sort()
                group.consumers.append(consumer)
            }
            group.pending.sort { $0.id < $1.id }
            group.consumers.sort { Canonicalizer.precedes($0.name, $1.name) }
            groups.append(group)
        }
        groups.sort { Canonicalizer.precedes($0.name, $1.name) }
        return groups
    }

    /// What a server of 7.0 fills in for a group of an older stream (redis/src/t_stream.c,
    /// `streamEstimateDistanceFromFirstEverEntry`; nothing is known to be deleted).
    private static func estimatedRead(_ id: StreamID, _ totals: Totals) -> UInt64 {
        if totals.added == 0 { return 0 }
        if id == totals.last { return totals.added }
        if id > totals.last { return unknownCount }
        if id < totals.first { return 0 }
        return id == totals.first ? 1 : unknownCount
    }

    private func readProducers(_ reader: inout ByteReader) throws(RDBError) -> Producers {
        var all = Producers()
        all.duration = try reader.length()
        all.maximum = try reader.length()
        for _ in 0..<(try reader.count(least: 2)) {
            let name = try reader.string(arena)
            var messages: [(id: Piece, milliseconds: UInt64, sequence: UInt64)] = []
            for _ in 0..<(try reader.count(least: 3)) {
                let id = try reader.string(arena)
                messages.append((id, try reader.length(), try reader.length()))
            }
            all.producers.append((name, messages))
        }
        all.added = try reader.length()
        all.duplicates = try reader.length()
        all.producers.sort { Canonicalizer.precedes($0.name, $1.name) }
        return all
    }

    // MARK: writing

    private func write(_ id: StreamID, to output: inout [UInt8]) {
        RDBWriter.length(id.milliseconds, to: &output)
        RDBWriter.length(id.sequence, to: &output)
    }

    private func write(_ group: Group, _ form: StreamForm, to output: inout [UInt8]) {
        RDBWriter.string(group.name, to: &output)
        write(group.lastDelivered, to: &output)
        if form != .type15 { RDBWriter.length(group.entriesRead, to: &output) }
        RDBWriter.length(UInt64(group.pending.count), to: &output)
        for pending in group.pending {
            RDBWriter.id(pending.id, to: &output)
            RDBWriter.number(pending.delivered, to: &output)
            RDBWriter.length(pending.count, to: &output)
        }
        RDBWriter.length(UInt64(group.consumers.count), to: &output)
        for consumer in group.consumers {
            RDBWriter.string(consumer.name, to: &output)
            RDBWriter.number(consumer.seen, to: &output)
            if form == .type21 || form == .type26 { RDBWriter.number(consumer.active, to: &output) }
            RDBWriter.length(UInt64(consumer.pending.count), to: &output)
            for id in consumer.pending { RDBWriter.id(id, to: &output) }
        }
    }

    private func write(_ all: Producers, to output: inout [UInt8]) {
        RDBWriter.length(all.duration, to: &output)
        RDBWriter.length(all.maximum, to: &output)
        RDBWriter.length(UInt64(all.producers.count), to: &output)
        for producer in all.producers {
            RDBWriter.string(producer.name, to: &output)
            RDBWriter.length(UInt64(producer.messages.count), to: &output)
            for message in producer.messages {
                RDBWriter.string(message.id, to: &output)
                RDBWriter.length(message.milliseconds, to: &output)
                RDBWriter.length(message.sequence, to: &output)
            }
        }
        RDBWriter.length(all.added, to: &output)
        RDBWriter.length(all.duplicates, to: &output)
    }
}

/// Cuts entries into nodes: a base id and a listpack each (redis/src/t_stream.c, `streamAppendItem`).
private struct NodeWriter {
    private static let entries = 100
    private static let bytes = 4096

    private(set) var count = 0
    private var list = Listpack()
    private var base = StreamID.zero
    private var master: [PackedEntry] = []
    private var held = 0

    mutating func add(_ id: StreamID, _ raw: [PackedEntry], to output: inout [UInt8]) {
        let fields = raw.map(\.normalized)
        if held == Self.entries || list.bytes.count >= Self.bytes { close(to: &output) }
        let names = stride(from: 0, to: fields.count, by: 2)
        if held == 0 {
            base = id
            master = names.map { fields[$0] }
            list = Listpack()
            list.append(0)
            list.append(0)
            list.append(Int64(master.count))
            for name in master { list.append(name) }
            list.append(0)
        }
        let isSame = fields.count == master.count * 2 && names.allSatisfy { fields[$0].equals(master[$0 / 2]) }
        list.append(isSame ? 2 : 0)
        list.append(Int64(bitPattern: id.milliseconds &- base.milliseconds))
        list.append(Int64(bitPattern: id.sequence &- base.sequence))
        if isSame {
            for index in names { list.append(fields[index + 1]) }
            list.append(Int64(master.count) + 3)
        } else {
            list.append(Int64(fields.count / 2))
            for field in fields { list.append(field) }
            list.append(Int64(fields.count) + 4)
        }
        held += 1
    }

    mutating func close(to output: inout [UInt8]) {
        guard held > 0 else { return }
        // The first entry of a node is the count of its live ones: at most 100, so one byte at a known place.
        list.setSmall(held, at: 6)
        RDBWriter.length(16, to: &output)
        RDBWriter.id(base, to: &output)
        RDBWriter.string(list.finish(), to: &output)
        held = 0
        list = Listpack()
        count += 1
    }
}
