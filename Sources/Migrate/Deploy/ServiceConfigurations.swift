internal import DRPKit
internal import Foundation

/// The configuration files of the servers. Pure.
enum ServiceConfigurations {
    /// For mongod, in JSON, which is YAML as well. One member of a replica set with users, bound to the site's
    /// address alone, without a socket in the file system.
    static func mongod(_ deployment: Deployment, keyFile: String, cacheMiB: Int) throws -> [UInt8] {
        struct Configuration: Encodable {
            struct Net: Encodable {
                struct Socket: Encodable { var enabled = false }
                var bindIp: String
                var port: Int
                var unixDomainSocket = Socket()
            }
            struct Storage: Encodable {
                struct Engine: Encodable {
                    struct Settings: Encodable { var cacheSizeGB: Double }
                    var engineConfig: Settings
                }
                var dbPath: String
                var wiredTiger: Engine
            }
            struct Replication: Encodable {
                var replSetName: String
                var oplogSizeMB = 1024
            }
            struct Security: Encodable {
                var authorization = "enabled"
                var keyFile: String
            }
            struct Parameters: Encodable {
                var diagnosticDataCollectionEnabled = false
                // A one-member set has nobody to hand over to: no reason to wait before it ends.
                var shutdownTimeoutMillisForSignaledShutdown = 100
            }
            var net: Net
            var storage: Storage
            var replication: Replication
            var security: Security
            var setParameter = Parameters()
        }
        let configuration = Configuration(
            net: .init(bindIp: deployment.address, port: deployment.ports.mongo),
            storage: .init(
                dbPath: "\(deployment.folder)/mongo/data",
                wiredTiger: .init(engineConfig: .init(cacheSizeGB: Double(cacheMiB) / 1024))),
            replication: .init(replSetName: deployment.client.text), security: .init(keyFile: keyFile))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(configuration))
    }

    /// For redis-server. Passwords stand there only as SHA-256, which is all that its ACL needs. Every write
    /// reaches the disk within a second, so that a restore survives a restart.
    static func redis(_ deployment: Deployment, passwords: DeploymentFolder.Passwords) -> [UInt8] {
        let lines = [
            "bind \(deployment.address)",
            "port \(deployment.ports.redis)",
            "protected-mode yes",
            "daemonize no",
            // Keeps the environment readable in /proc: a lost pid file is found again by it.
            "set-proc-title no",
            "dir \(quoted("\(deployment.folder)/redis/data"))",
            "logfile \"\"",
            "appendonly yes",
            "appendfsync everysec",
            "save 3600 1",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            "user default off",
            "user drp on #\(hash(passwords.redisForDRP)) ~* &* +@all",
            "user app on #\(hash(passwords.redisForApp)) ~* &* +@all -@admin",
        ]
        return Array((lines.joined(separator: "\n") + "\n").utf8)
    }

    private static func hash(_ password: String) -> String {
        Array(password.utf8).withUnsafeBytes { ContentHash(hashing: $0) }.description
    }

    /// As redis-server reads it back: a byte that is not plain becomes `\xHH`.
    static func quoted(_ text: String) -> String {
        let content = text.utf8.map { byte in
            switch byte {
            case 0x22, 0x5c: "\\" + String(UnicodeScalar(byte))
            case 0x20...0x7e: String(UnicodeScalar(byte))
            default: "\\x" + Hex.encode([byte])
            }
        }
        return "\"\(content.joined())\""
    }
}
