/// Tells which documents a server may delete by itself until an instant: those of TTL indexes and of collections
/// with `expireAfterSeconds`.
///
/// It may name a few documents too many (an index's partial filter is not looked at), never one too few: a
/// comparison leaves out on both sides what it names.
struct MongoExpiry: Sendable {
    private struct Rule {
        /// Names of fields, from the top.
        var path: [[UInt8]]
        var milliseconds: Int64
    }

    private let rules: [Rule]
    private let instant: Int64

    /// - Parameter instant: milliseconds since 1970.
    /// - Returns: nil if the server deletes nothing of this collection by itself.
    init?(_ collection: MongoCollection, until instant: Int64) throws {
        var rules: [Rule] = []
        for spec in collection.indexes {
            try spec.withBSON { spec in
                var keys = try spec.require("key").document().fields
                guard let lifetime = try Self.lifetime(spec), let key = try keys.next() else { return }
                rules.append(Rule(path: Self.path(key.nameText), milliseconds: lifetime))
            }
        }
        try collection.options.withBSON { options in
            guard let lifetime = try Self.lifetime(options) else { return }
            let series = try options.find("timeseries")?.document().require("timeField").string()
            // A bucket goes when all of it has expired: its oldest measurement expires first.
            let path = series.map { ["control", "min", $0].map { Array($0.utf8) } } ?? [Array("_id".utf8)]
            rules.append(Rule(path: path, milliseconds: lifetime))
        }
        guard !rules.isEmpty else { return nil }
        self.rules = rules
        self.instant = instant
    }

    func mayExpire(_ document: UnsafeRawBufferPointer) throws(BSONError) -> Bool {
        let reader = try BSONReader(document)
        for rule in rules {
            guard let date = try Self.earliestDate(in: reader, rule.path[...]) else { continue }
            let (end, overflow) = date.addingReportingOverflow(rule.milliseconds)
            if !overflow && end <= instant { return true }
        }
        return false
    }

    /// In milliseconds; a lifetime that is no whole number counts as the shortest.
    private static func lifetime(_ document: BSONReader) throws(BSONError) -> Int64? {
        guard let field = try document.find("expireAfterSeconds") else { return nil }
        guard let seconds = try? field.integer() else { return 0 }
        return seconds.multipliedReportingOverflow(by: 1000).overflow ? .max : seconds * 1000
    }

    private static func path(_ dotted: String) -> [[UInt8]] {
        dotted.split(separator: ".", omittingEmptySubsequences: false).map { Array($0.utf8) }
    }

    /// The earliest date at the path, arrays on the way entered, as the server's TTL monitor does.
    private static func earliestDate(
        in document: BSONReader, _ path: ArraySlice<[UInt8]>
    ) throws(BSONError) -> Int64? {
        guard let name = path.first else { return nil }
        var earliest: Int64?
        var fields = document.fields
        while let field = try fields.next() {
            if field.name.elementsEqual(name), let date = try earliestDate(of: field, path.dropFirst()) {
                earliest = min(earliest ?? date, date)
            }
        }
        return earliest
    }

    private static func earliestDate(
        of field: BSONField, _ rest: ArraySlice<[UInt8]>
    ) throws(BSONError) -> Int64? {
        switch field.type {
        case .date: return rest.isEmpty ? Int64(littleEndian: field.value.loadUnaligned(as: Int64.self)) : nil
        case .document: return try earliestDate(in: field.document(), rest)
        case .array:
            var earliest: Int64?
            var elements = try field.document().fields
            while let element = try elements.next() {
                if let date = try earliestDate(of: element, rest) { earliest = min(earliest ?? date, date) }
            }
            return earliest
        default: return nil
        }
    }
}
