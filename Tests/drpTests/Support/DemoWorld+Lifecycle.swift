import DRPKit
import Foundation
import Glibc
import Synchronization

/// How a world begins and ends.
extension DemoWorld {
    func begin() async throws {
        let tls = options.isTLS ? ["--tls"] : []
        var jobs: [@Sendable () async throws -> Void] = []
        for client in options.clients {
            jobs.append { _ = try await self.service("mongodb", "start", "north-\(client)-mongo", tls) }
            jobs.append { _ = try await self.service("redis", "start", "north-\(client)-redis", tls) }
        }
        if options.hasDNS {
            jobs.append {
                _ = try await self.service("bind", "start", "bind")
                let lines = try await self.service("bind", "env", "bind").split(separator: "\n")
                let values = lines.map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
                self.dns.withLock { dns in for value in values where value.count == 2 { dns[value[0]] = value[1] } }
                if self.options.hasAPI { try await self.addRecords() }
            }
        }
        for number in 1...2 {
            jobs.append {
                let ended = try await self.drp("keys", "init", "--identity", "recovery-\(number).key")
                guard ended.status == 0 else { throw WorldError("keys init --identity: \(ended.stderr)") }
            }
        }
        try await together(jobs)
        try writeFleet()
        try await together(
            options.clients.enumerated().map { index, client in { try await self.fill(client, seed: index + 1) } }
                + [{ if self.options.hasKeys { try await self.makeKeys() } }])
        if options.hasAPI {
            try await together(options.clients.map { client in { try await self.startAPI(client) } })
        }
    }

    func together(_ jobs: [@Sendable () async throws -> some Sendable]) async throws {
        try await withThrowingTaskGroup { group in
            for job in jobs { group.addTask { _ = try await job() } }
            try await group.waitForAll()
        }
    }

    private func fill(_ client: String, seed: Int) async throws {
        var command = [
            Self.python, "\(Self.root)/script/data/small.py", "--seed", "\(seed)",
            "--mongo-uri-file", uriFile(client, "mongo"), "--redis-uri-file", uriFile(client, "redis"),
            "--documents", "\(options.documents)", "--mb", "\(options.megabytes)",
        ]
        if options.isTLS { command += ["--ca", "\(folder)/north-\(client)-redis/ca.pem"] }
        let ended = try await shell(command)
        guard ended.status == 0 else { throw WorldError("small.py: \(ended.stderr)") }
    }

    private func makeKeys() async throws {
        let ended = try await drp("keys", "init", "--all")
        guard ended.status == 0 else { throw WorldError("keys init: \(ended.stderr)") }
    }

    private func addRecords() async throws {
        try await changeRecords(options.clients.map { "update add \(domain($0)) 5 A \(north)" })
    }

    /// Changes records of the zone by hand, as nsupdate takes it.
    func changeRecords(_ lines: [String]) async throws {
        let parts = dnsServer.split(separator: ":")
        let ended = try await shell(
            ["/usr/bin/nsupdate", "-k", dns.withLock { $0["DNS_TSIG_FILE"] ?? "" }],
            input:
                "server \(parts[0]) \(parts[1])\nzone \(dns.withLock { $0["DNS_ZONE"] ?? "" })\n\(lines.joined(separator: "\n"))\nsend\n"
        )
        guard ended.status == 0 else { throw WorldError("nsupdate: \(ended.stderr)") }
    }

    private func startAPI(_ client: String) async throws {
        let child = try startAny(
            [Self.python, "\(Self.root)/script/demo-api.py"],
            environment: [
                "ADDRESS": north, "PORT": "\(port(of: client))", "DRP_CLIENT": client,
                "MONGO_URI_FILE": uriFile(client, "mongo"), "REDIS_URI_FILE": uriFile(client, "redis"),
            ])
        let home = "\(folder)/north-\(client)-api"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        try "\(child.pid)".write(toFile: "\(home)/pid", atomically: true, encoding: .utf8)
        for _ in 0..<200 {
            if try await answer(of: client, at: north) != nil { return }
            guard child.isRunning else { break }
        }
        throw WorldError("the API of \(client) does not answer")
    }

    private func writeFleet() throws {
        let recipients = try (1...2).map { number in
            let text = try String(contentsOfFile: "\(folder)/recovery-\(number).key", encoding: .utf8)
            return text.split(separator: "\n").first { $0.hasPrefix("# recipient: ") }?.dropFirst(13) ?? ""
        }
        let programs = "{mongod: \(Self.programs)/mongod, redis-server: \(Self.programs)/redis-server}"
        let sites = [("north", north), ("south", south)].map { name, address in
            """
              \(name):
                provider: local
                folder: \(folder)/sites/\(name)
                frontends: [{address: \(address)}]
                programs: \(programs)
            """
        }
        let clients = options.clients.enumerated().map { index, client in
            let trust = { (service: String) in
                self.options.isTLS ? ", ca: \(self.folder)/north-\(client)-\(service)/ca.pem" : ""
            }
            return """
                  - id: \(client)
                    environment: staging
                    site: north
                    priority: \(index + 1)
                    services:
                      api: {command: [\(Self.python), \(Self.root)/script/demo-api.py], port: \(port(of: client))}
                      mongo: {uri: {file: \(uriFile(client, "mongo"))}\(trust("mongo"))}
                      redis: {uri: {file: \(uriFile(client, "redis"))}, role: store\(trust("redis"))}
                    domains: [\(domain(client))]
                    contacts: [ops@\(client).example]
                """
        }
        let (address, zone, key) = dns.withLock {
            ($0["DNS_ADDRESS"] ?? "", $0["DNS_ZONE"] ?? "", $0["DNS_TSIG_FILE"] ?? "")
        }
        let traffic = """

            traffic:
              site: office
              ttl: 5s
              dns: {rfc2136: {server: \(address), zone: \(zone), key: {file: \(key)}, authorities: ["\(address)"]}}

            """
        try """
        fleet: world
        state: \(state)
        site: office
        recovery: [\(recipients.joined(separator: ", "))]

        sites:
          office: {}
        \(sites.joined(separator: "\n"))

        stores:
          vault: {site: office, folder: \(store)}
        \(options.moreStores.map { "  \($0): {site: office, folder: \(folder)/\($0)}" }.joined(separator: "\n"))

        policies:
          nightly:
            schedule: "daily 02:30 Europe/Paris"
            stores: [\((["vault"] + options.moreStores).joined(separator: ", "))]

        environments:
          staging: {policy: nightly, objectives: {rpo: 24h, rto: 30m}}

        clients:
        \(clients.joined(separator: "\n"))
        \(options.hasDNS ? traffic : "")
        """.write(toFile: fleetFile, atomically: true, encoding: .utf8)
    }

    /// Ends everything that works inside the folder, by `/proc`, as `script/test` does, then removes the folder.
    func close() async {
        // A thread can always be had; if not, the folder stays, and script/test ends what is in it.
        try? await OwnThread.run("test-close") { [folder] in
            for _ in 0..<500 {
                let strays = Self.processes(inside: folder)
                if strays.isEmpty { break }
                for pid in strays { kill(pid, SIGKILL) }
                var status: Int32 = 0
                for pid in strays { waitpid(pid, &status, WNOHANG) }
                usleep(5000)
            }
            // A folder that is a mount of its own would keep the world's.
            for name in ["store", "state"] { umount2("\(folder)/\(name)", Int32(MNT_DETACH)) }
            try FileManager.default.removeItem(atPath: folder)
        }
    }

    /// Living processes whose working folder or command line lies inside `folder`: nobody else's can.
    static func processes(inside folder: String) -> [pid_t] {
        // A process that ends meanwhile is none.
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { pid_t($0) }.filter { pid in
            guard pid != getpid(), let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
                let state = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.first(where: { $0 != " " }
                ),
                state != "Z"
            else { return false }
            let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")
            if place?.hasPrefix(folder) == true { return true }
            let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            return line.range(of: Data("\(folder)/".utf8)) != nil
        }
    }
}
