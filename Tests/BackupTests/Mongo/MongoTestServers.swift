import Backup
import DRPKit
import Foundation
import Synchronization

/// The servers of the service tests, by environment.
enum MongoTestServers {
    static let hasBoth = isSet("DRP_TEST_MONGO_URI") && isSet("DRP_TEST_MONGO_TARGET_URI")
    static let source = settings("DRP_TEST_MONGO_URI")
    static let target = settings("DRP_TEST_MONGO_TARGET_URI")
    static let mongod = mongodPath()
    /// Where nobody listens.
    static let nowhere = MongoSettings(
        uri: Secret("mongodb://ann:canary-password@127.0.0.1:1/"), selectionTimeout: .milliseconds(500))

    private static func isSet(_ name: String) -> Bool { ProcessInfo.processInfo.environment[name] != nil }

    private static func settings(_ name: String) -> MongoSettings {
        guard let uri = ProcessInfo.processInfo.environment[name] else { return nowhere }
        return MongoSettings(uri: Secret(uri), selectionTimeout: .seconds(5))
    }

    private static func mongodPath() -> String? {
        guard let folder = ProcessInfo.processInfo.environment["DRP_TEST_PROGRAMS"] else { return nil }
        let path = "\(folder)/mongod"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }
}

/// Chunks in memory under ids without a key.
final class HeldChunks: ChunkSink, ChunkSource {
    struct Damaged: Error {}

    private let chunks = Mutex<[ChunkID: Chunk]>([:])
    /// Called with the number of chunks so far; throws to fail the store.
    private let before: @Sendable (Int) throws -> Void

    init(before: @escaping @Sendable (Int) throws -> Void = { _ in }) { self.before = before }

    func store(_ chunk: Chunk) throws -> ChunkID {
        try before(chunks.withLock { $0.count })
        let id = Self.id(chunk.kind, chunk.hashes)
        chunks.withLock { $0[id] = chunk }
        return id
    }

    func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8] {
        guard let chunk = chunks.withLock({ $0[id] }), chunk.kind == kind else { throw Damaged() }
        return chunk.bytes
    }

    func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws {
        guard Self.id(kind, hashes) == id else { throw Damaged() }
    }

    /// Flips one bit in the last document of a chunk.
    func damage(_ id: ChunkID) {
        chunks.withLock { chunks in
            guard let count = chunks[id]?.bytes.count else { return }
            chunks[id]?.bytes[count - 2] ^= 1
        }
    }

    var count: Int { chunks.withLock { $0.count } }

    private static func id(_ kind: ChunkKind, _ hashes: [ContentHash]) -> ChunkID {
        ChunkID(ContentHash(hashing: [kind.rawValue] + hashes.flatMap(\.bytes)))
    }
}

/// A mongod of one test's own, standalone, in a temporary folder; ended by `stop`.
final class OwnMongod {
    let port: Int
    let folder: String
    private let process = Process()

    /// - Parameter options: of mongod, beside folder and port.
    init(_ program: String, port: Int, options: (_ folder: String) throws -> [String] = { _ in [] }) throws {
        self.port = port
        folder = NSTemporaryDirectory() + "drp-test-mongod-\(ProcessInfo.processInfo.processIdentifier)-\(port)"
        try FileManager.default.createDirectory(atPath: "\(folder)/data", withIntermediateDirectories: true)
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments =
            [
                "--dbpath", "\(folder)/data", "--port", "\(port)", "--bind_ip", "127.0.0.1", "--unixSocketPrefix",
                folder,
                "--wiredTigerCacheSizeGB", "0.25", "--logpath", "\(folder)/log",
            ] + (try options(folder))
        try process.run()
    }

    func stop() {
        process.terminate()
        process.waitUntilExit()
        // What the folder still holds does no harm.
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Makes a key and a certificate for 127.0.0.1 signed by itself: `NAME.pem` holds both.
    static func certificate(_ name: String, in folder: String) throws -> String {
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        openssl.arguments = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", "\(folder)/\(name).key", "-out", "\(folder)/\(name).crt",
        ]
        openssl.standardError = FileHandle.nullDevice
        try openssl.run()
        openssl.waitUntilExit()
        let both = try ["key", "crt"].map { try String(contentsOfFile: "\(folder)/\(name).\($0)", encoding: .utf8) }
        try both.joined().write(toFile: "\(folder)/\(name).pem", atomically: true, encoding: .utf8)
        return "\(folder)/\(name).pem"
    }
}
