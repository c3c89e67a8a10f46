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
