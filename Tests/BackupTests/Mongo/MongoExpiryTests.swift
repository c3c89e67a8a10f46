import Testing

@testable import Backup

@Suite("Documents that expire")
struct MongoExpiryTests {
    private static func date(_ writer: inout BSONWriter, _ name: String, _ milliseconds: Int64) {
        withUnsafeBytes(of: milliseconds.littleEndian) { writer.append(name, .date, value: $0) }
    }

    private static func collection(
        index: [UInt8]? = nil, options: [UInt8] = BSONWriter.document { _ in }
    ) -> MongoCollection {
        MongoCollection(
            database: "d", name: "c", kind: .collection, options: options, uuid: Array(repeating: 1, count: 16),
            indexes: [index].compactMap(\.self))
    }

    private static func index(_ field: String, seconds: Int32) -> [UInt8] {
        BSONWriter.document {
            $0.append("key", document: { $0.append(field, Int32(1)) })
            $0.append("expireAfterSeconds", seconds)
        }
    }

    private func mayExpire(_ expiry: MongoExpiry, _ body: (inout BSONWriter) -> Void) throws -> Bool {
        try BSONWriter.document(body).withUnsafeBytes { try expiry.mayExpire($0) }
    }

    @Test("a collection without a lifetime is compared whole")
    func none() throws {
        #expect(try MongoExpiry(Self.collection(), until: 0) == nil)
    }

    @Test("a document counts as expiring from its date and the lifetime on, and not before")
    func border() throws {
        let collection = Self.collection(index: Self.index("at", seconds: 10))
        let expiry = try #require(try MongoExpiry(collection, until: 11_000))
        #expect(try mayExpire(expiry) { Self.date(&$0, "at", 1000) })
        #expect(try !mayExpire(expiry) { Self.date(&$0, "at", 1001) })
        #expect(try !mayExpire(expiry) { $0.append("at", Int64(0)) })
        #expect(try !mayExpire(expiry) { _ in })
        #expect(try !mayExpire(expiry) { Self.date(&$0, "at", .max) })
    }

    @Test("the earliest date of an array below a dotted path counts")
    func arrays() throws {
        let collection = Self.collection(index: Self.index("a.at", seconds: 0))
        let expiry = try #require(try MongoExpiry(collection, until: 50))
        func document(_ dates: [Int64]) -> (inout BSONWriter) -> Void {
            { writer in
                writer.append(
                    "a",
                    array: { array in
                        for (index, date) in dates.enumerated() {
                            array.append("\(index)", document: { Self.date(&$0, "at", date) })
                        }
                    })
            }
        }
        #expect(try mayExpire(expiry, document([100, 50, 70])))
        #expect(try !mayExpire(expiry, document([100, 51])))
    }

    @Test("a bucket of a time series counts by its oldest measurement")
    func buckets() throws {
        let options = BSONWriter.document {
            $0.append("timeseries", document: { $0.append("timeField", "t") })
            $0.append("expireAfterSeconds", Int64(1))
        }
        let expiry = try #require(try MongoExpiry(Self.collection(options: options), until: 2000))
        #expect(
            try mayExpire(expiry) { bucket in
                bucket.append(
                    "control",
                    document: { control in
                        control.append("min", document: { Self.date(&$0, "t", 1000) })
                    })
            })
    }
}
