internal import DRPKit

/// What a server is, as INFO says it.
package struct RedisServerInfo: Sendable, Equatable {
    package var version: String
    package var family: RDBFamily
    /// The newest RDB version that it reads; decides what RESTORE accepts.
    package var rdbVersion: Int
    /// Keys in each database that has any.
    package var keys: [Int: Int64]
    package var evictedKeys: Int64

    /// - Returns: nil if `text` names no version.
    package init?(info text: String) {
        var fields: [Substring: Substring] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...]
        }
        // Valkey calls itself redis_version 7.2.4, whatever it is.
        if let valkey = fields["valkey_version"] {
            family = .valkey
            version = String(valkey)
        } else if let redis = fields["redis_version"] {
            family = .redis
            version = String(redis)
        } else {
            return nil
        }
        rdbVersion = Self.rdbVersion(version, family)
        evictedKeys = fields["evicted_keys"].flatMap { Int64($0) } ?? 0
        keys = [:]
        for (name, value) in fields where name.hasPrefix("db") && value.hasPrefix("keys=") {
            guard let number = Int(name.dropFirst(2)), let count = Int64(value.dropFirst(5).prefix { $0 != "," }) else {
                continue
            }
            keys[number] = count
        }
    }

    private static func rdbVersion(_ version: String, _ family: RDBFamily) -> Int {
        let parts = version.split(separator: ".").prefix(2).map { Int($0) ?? 0 } + [0, 0]
        let (major, minor) = (parts[0], parts[1])
        if family == .valkey { return major >= 9 ? 80 : 11 }
        switch (major, minor) {
        case (..<5, _): return 8
        case (..<7, _): return 9
        case (7, ..<2): return 10
        case (7, ..<4): return 11
        case (7, _), (8, ..<6): return 12
        default: return 13
        }
    }
}

/// Questions to a server before work begins. Each opens a connection of its own.
package enum RedisServer {
    package static func ping(_ settings: RedisSettings) async throws {
        try await asking(settings) { _ = try $0.command("PING") }
    }

    package static func serverVersion(_ settings: RedisSettings) async throws -> String {
        try await asking(settings) { try info($0).version }
    }

    /// Whether it holds neither keys nor functions.
    package static func isEmpty(_ settings: RedisSettings) async throws -> Bool {
        try await asking(settings) { connection in
            let info = try info(connection)
            return try info.keys.isEmpty && functions(connection, info) == 0
        }
    }

    /// Keys in all databases.
    package static func keyCount(_ settings: RedisSettings) async throws -> Int64 {
        try await asking(settings) { try info($0).keys.values.reduce(0, +) }
    }

    /// More replicas than there can be.
    private static let impossibleReplicas = "1000000"

    /// Keeps everybody from writing, or lets them; also after a restart, where the server has a configuration file.
    static func blockWrites(_ isOn: Bool, _ settings: RedisSettings) async throws {
        try await asking(settings) { connection in
            // Without a lag the number of replicas counts for nothing.
            if isOn { try connection.command("CONFIG", "SET", "min-replicas-max-lag", "10") }
            try connection.command("CONFIG", "SET", "min-replicas-to-write", isOn ? impossibleReplicas : "0")
            do { try connection.command("CONFIG", "REWRITE") } catch let error as RedisError
                where error.reason == .refused && error.detail.contains("running without a config file")
            {
                // Started without a configuration file: there is nothing that a restart could read.
            }
        }
    }

    static func blocksWrites(_ settings: RedisSettings) async throws -> Bool {
        try await asking(settings) { connection in
            let reply = try connection.command("CONFIG", "GET", "min-replicas-to-write")
            guard case .array(let values?) = reply, values.count == 2 else {
                throw connection.error(.unsupported, "CONFIG GET does not tell min-replicas-to-write")
            }
            return values[1].text == impossibleReplicas
        }
    }

    /// Changes since the last save, and when that was.
    static func changes(_ settings: RedisSettings) async throws -> (changes: Int64, saved: Int64) {
        try await asking(settings) { connection in
            let text = try connection.command("INFO", "persistence").text ?? ""
            func field(_ name: String) -> Int64 {
                let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }
                return line.flatMap { Int64($0.dropFirst(name.count + 1)) } ?? 0
            }
            return (field("rdb_changes_since_last_save"), field("rdb_last_save_time"))
        }
    }

    static func info(_ connection: RedisConnection) throws -> RedisServerInfo {
        guard let text = try connection.command("INFO").text, let info = RedisServerInfo(info: text) else {
            throw connection.error(.unsupported, "INFO names no version")
        }
        return info
    }

    /// How many function libraries it holds.
    static func functions(_ connection: RedisConnection, _ info: RedisServerInfo) throws -> Int {
        guard info.rdbVersion >= 10 else { return 0 }
        guard case .array(let list?) = try connection.command("FUNCTION", "LIST") else { return 0 }
        return list.count
    }

    private static func asking<Result: Sendable>(
        _ settings: RedisSettings, _ body: @escaping @Sendable (RedisConnection) throws -> Result
    ) async throws -> Result {
        let cancellation = RedisCancellation()
        return try await withTaskCancellationHandler {
            try await OwnThread.run("redis-ask") {
                let connection = try RedisConnection(settings, cancellation)
                defer { connection.close() }
                return try body(connection)
            }
        } onCancel: {
            cancellation.cancel()
        }
    }
}
