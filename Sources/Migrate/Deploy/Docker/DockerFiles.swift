internal import DRPKit
internal import Foundation

/// What a client's containers are given to read, each in a volume of its own at `DockerFiles.folder`: configuration and
/// secrets alike, mode 0400, owned by the user that the containers run as. Pure.
struct DockerFiles {
    /// Where a container finds its files.
    static let folder = "/run/drp"
    static let mongoPort = 27_017
    static let redisPort = 6379
    /// Of the edge inside its container; published as 80 and 443.
    static let plainPort = 8080
    static let tlsPort = 8443

    /// By volume, then by name.
    let content: [DockerVolumeRole: [String: [UInt8]]]

    /// - Parameter apiAddress: of the API in the network `edge`.
    init(
        _ deployment: Deployment, _ spec: ContainerSpec, _ passwords: DeploymentFolder.Passwords,
        apiAddress: String, cacheMiB: Int
    ) throws {
        var api = spec.secrets.mapValues { secret in secret.withBytes { $0 } }
        let uris = DockerURIs(deployment, passwords)
        api["mongo.uri"] = Array("\(uris.mongoForApp)\n".utf8)
        api["redis.uri"] = Array("\(uris.redisForApp)\n".utf8)
        let pem = spec.key.withText { "\(spec.certificate)\n\($0)\n" }
        content = [
            .mongoFiles: [
                "mongod.conf": try Self.mongod(deployment.client, cacheMiB: cacheMiB),
                "mongo.key": Array("\(passwords.mongoMembers)\n".utf8),
            ],
            .redisFiles: ["redis.conf": Self.redis(passwords)],
            .apiFiles: api,
            .edgeFiles: [
                "haproxy.cfg": Self.haproxy(api: "\(apiAddress):\(deployment.ports.api)"),
                "edge.pem": Array(pem.utf8),
            ],
        ]
    }

    /// Changes with any of a volume's files, and tells nothing of them: the key is not known where the result stands.
    func digest(of volume: DockerVolumeRole, key: String) -> String {
        var bytes = Array(key.utf8)
        for (name, content) in (content[volume] ?? [:]).sorted(by: { $0.key < $1.key }) {
            bytes += "\u{0}\(name)\u{0}\(content.count)\u{0}".utf8 + content
        }
        return ContentHash(hashing: bytes).description
    }

    /// For mongod, in JSON, which is YAML as well.
    private static func mongod(_ client: ClientID, cacheMiB: Int) throws -> [UInt8] {
        let settings: JSONValue = [
            "net": [
                "bindIpAll": true, "port": .integer(Int64(mongoPort)), "unixDomainSocket": ["enabled": false],
            ],
            "storage": [
                "dbPath": .text(DockerStack.dataFolder),
                "wiredTiger": ["engineConfig": ["cacheSizeGB": .number(Double(cacheMiB) / 1024)]],
            ],
            "replication": ["replSetName": .text(client.text), "oplogSizeMB": 1024],
            "security": ["authorization": "enabled", "keyFile": .text("\(folder)/mongo.key")],
            "setParameter": [
                "diagnosticDataCollectionEnabled": false,
                // A one-member set has nobody to hand over to: no reason to wait before it ends.
                "shutdownTimeoutMillisForSignaledShutdown": 100,
            ],
        ]
        return Array("\(try settings.json())\n".utf8)
    }

    /// For redis-server. Passwords stand there only as SHA-256, which is all that its ACL needs.
    private static func redis(_ passwords: DeploymentFolder.Passwords) -> [UInt8] {
        lines([
            "port \(redisPort)",
            // The network holds Redis and the API alone, and nobody comes in without a password.
            "bind * -::*",
            "protected-mode no",
            "daemonize no",
            "dir \(DockerStack.dataFolder)",
            "logfile \"\"",
            "appendonly yes",
            "appendfsync everysec",
            "save 3600 1",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            "user default off",
            "user drp on #\(ContentHash(hashing: Array(passwords.redisForDRP.utf8))) ~* &* +@all",
            "user app on #\(ContentHash(hashing: Array(passwords.redisForApp.utf8))) ~* &* +@all -@admin",
        ])
    }

    /// For haproxy. A name that the certificate does not hold gets no handshake.
    private static func haproxy(api: String) -> [UInt8] {
        lines([
            "global",
            "    maxconn 2000",
            "    hard-stop-after 5s",
            "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
            "defaults",
            "    mode http",
            "    timeout connect 5s",
            "    timeout client 60s",
            "    timeout server 60s",
            "frontend plain",
            "    bind :\(plainPort)",
            "    http-request redirect scheme https code 308",
            "frontend tls",
            "    bind :\(tlsPort) ssl crt \(folder)/edge.pem strict-sni alpn h2,http/1.1",
            "    http-request set-header X-Forwarded-Proto https",
            "    http-request set-header X-Forwarded-For %[src]",
            "    default_backend api",
            "backend api",
            "    server api \(api)",
        ])
    }

    private static func lines(_ lines: [String]) -> [UInt8] { Array((lines.joined(separator: "\n") + "\n").utf8) }
}

/// How databases are addressed: by the API through names of its networks, by drp through addresses inside the site.
struct DockerURIs {
    let mongoForApp: String
    let redisForApp: String
    /// nil before the networks are made.
    let mongoForDRP: String?
    let redisForDRP: String?
    private let passwords: DeploymentFolder.Passwords

    init(_ deployment: Deployment, _ passwords: DeploymentFolder.Passwords) {
        self.passwords = passwords
        let client = deployment.client
        mongoForApp =
            "mongodb://drp-app:\(passwords.mongoForApp)@mongo:\(DockerFiles.mongoPort)"
            + "/?replicaSet=\(client)&authSource=admin"
        redisForApp = "redis://app:\(passwords.redisForApp)@redis:\(DockerFiles.redisPort)"
        mongoForDRP = deployment.inside.map { Self.mongo("drp-admin", passwords.mongoForDRP, $0.mongo, "admin") }
        redisForDRP = deployment.inside.map { Self.redis(passwords, $0.redis) }
    }

    /// As MongoDB's internal user, whose password is the content of the key file.
    static func mongoInternal(_ passwords: DeploymentFolder.Passwords, at place: HostPort) -> Secret {
        Secret(mongo("__system", DockerEngine.escaped(passwords.mongoMembers), place, "local"))
    }

    static func redis(_ passwords: DeploymentFolder.Passwords, at place: HostPort) -> Secret {
        Secret(redis(passwords, place))
    }

    /// Without `replicaSet`: the set's own name for its member leads nowhere outside of the containers.
    private static func mongo(_ user: String, _ password: String, _ place: HostPort, _ source: String) -> String {
        "mongodb://\(user):\(password)@\(place)/?directConnection=true&authSource=\(source)"
    }

    private static func redis(_ passwords: DeploymentFolder.Passwords, _ place: HostPort) -> String {
        "redis://drp:\(passwords.redisForDRP)@\(place)"
    }
}
