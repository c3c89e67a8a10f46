import Foundation
import Glibc
import Synchronization

@testable import Backup
@testable import DRPKit

/// Measures for `script/bench`: what the machine can do without drp's own work, over the same data and in the same run,
/// and what parts of drp do.
///
///     Benchmarks mongo SOURCE-URI-FILE TARGET-URI-FILE
///     Benchmarks vault SOURCE-URI-FILE FOLDER THREADS
///     Benchmarks chunks FOLDER COUNT
///     Benchmarks open FOLDER
///     Benchmarks engine FOLDER
///
/// Prints a JSON line a measurement: name, seconds, bytes, CPU seconds of this process.
@main
struct Baselines {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch (arguments.first, arguments.count) {
        case ("mongo", 3): try await mongo(try settings(arguments[1]), try settings(arguments[2]))
        case ("vault", 4):
            try await Vault.measure(try settings(arguments[1]), folder: arguments[2], threads: Int(arguments[3]) ?? 1)
        case ("chunks", 3): try await Vault.fill(arguments[1], chunks: Int(arguments[2]) ?? 0)
        case ("engine", 2): try await Engine.measure(arguments[1])
        case ("open", 2): try await Vault.open(arguments[1])
        default:
            FileHandle.standardError.write(Data("Benchmarks: wrong use, see Baselines.swift\n".utf8))
            exit(2)
        }
    }

    private static func settings(_ file: String) throws -> MongoSettings {
        MongoSettings(uri: Secret(try String(contentsOfFile: file, encoding: .utf8).trimmed))
    }

    private static func mongo(_ source: MongoSettings, _ target: MongoSettings) async throws {
        let content = try await OwnThread.run("bench") { try Content.read(source) }
        try await measure("read, two cursors", bytes: content.bytes) { try await content.readAgain(source) }
        for threads in [1, 2] {
            try await measure("zstd 3, \(threads) threads", bytes: content.bytes) {
                try await content.compress(threads)
            }
        }
        try await measure("insert by two writers, then indexes", bytes: content.bytes) {
            try await content.insert(target)
        }
    }

    static func measure(_ name: String, bytes: Int, _ body: @Sendable () async throws -> Void) async throws {
        let cpu = cpuSeconds()
        let began = ContinuousClock.now
        try await body()
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        let line =
            "{\"name\": \"\(name)\", \"seconds\": \(seconds), \"bytes\": \(bytes), \"cpu\": \(cpuSeconds() - cpu)}\n"
        FileHandle.standardOutput.write(Data(line.utf8))
    }

    private static func cpuSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
}

/// All documents of a server in memory, in chunks of about 1 MiB.
struct Content: Sendable {
    struct Chunk: Sendable {
        var collection: Int
        var bytes: [UInt8]
    }

    var collections: [MongoCollection] = []
    var chunks: [Chunk] = []
    var bytes = 0

    static func read(_ settings: MongoSettings) throws -> Content {
        let connection = try MongoConnection(settings, side: .source)
        var content = Content()
        content.collections = try MongoCatalog.read(connection).collections
        for (index, collection) in content.collections.enumerated() where collection.kind != .view {
            var current: [UInt8] = []
            try scan(collection).run(on: connection) { document in
                current.append(contentsOf: document)
                if current.count >= 1 << 20 {
                    content.chunks.append(Chunk(collection: index, bytes: current))
                    current = []
                }
            }
            if !current.isEmpty { content.chunks.append(Chunk(collection: index, bytes: current)) }
        }
        content.bytes = content.chunks.reduce(0) { $0 + $1.bytes.count }
        return content
    }

    private static func scan(_ collection: MongoCollection) -> MongoScan {
        MongoScan.documents(of: collection.uuid, in: collection.database, at: nil, averageSize: 0)
    }

    func readAgain(_ settings: MongoSettings) async throws {
        try await twice { work in
            let connection = try MongoConnection(settings, side: .source)
            var sum = 0
            while let index = work.next(below: collections.count) {
                guard collections[index].kind != .view else { continue }
                try Self.scan(collections[index]).run(on: connection) { sum &+= $0.count }
            }
        }
    }

    func compress(_ threads: Int) async throws {
        let compression = Compression()
        try await twice(threads) { work in
            while let index = work.next(below: chunks.count) {
                try chunks[index].bytes.withUnsafeBytes { try compression.compressed($0) { _ in } }
            }
        }
    }

    /// The same collections, documents and indexes, with nothing between memory and the server.
    func insert(_ settings: MongoSettings) async throws {
        try await OwnThread.run("bench") {
            let catalog = MongoCatalog(collections: collections)
            try MongoBuilder(connection: MongoConnection(settings, side: .target)).create(catalog)
        }
        try await twice { work in
            let connection = try MongoConnection(settings, side: .target)
            while let index = work.next(below: chunks.count) {
                let target = collections[chunks[index].collection]
                let writer = MongoInserter(
                    connection, database: target.database, collection: target.storedName,
                    mode: target.kind == .timeseries ? .buckets : .plain)
                try chunks[index].bytes.withUnsafeBytes {
                    try RecordSplitter.forEach(in: $0, kind: .documents) { try writer.append($0) }
                }
                try writer.flush()
            }
        }
        try await twice { work in
            let builder = MongoBuilder(connection: try MongoConnection(settings, side: .target))
            while let index = work.next(below: collections.count) { try builder.buildIndexes(of: collections[index]) }
        }
    }

    private func twice(_ threads: Int = 2, _ body: @escaping @Sendable (Work) throws -> Void) async throws {
        try await Work.share(threads, body)
    }
}

/// Numbers that threads take from, each one once.
final class Work: Sendable {
    private let taken = Mutex(0)

    static func share(_ threads: Int, _ body: @escaping @Sendable (Work) throws -> Void) async throws {
        let work = Work()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<threads { group.addTask { try await OwnThread.run("bench") { try body(work) } } }
            try await group.waitForAll()
        }
    }

    func next(below count: Int) -> Int? {
        taken.withLock { taken in
            guard taken < count else { return nil }
            taken += 1
            return taken - 1
        }
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
