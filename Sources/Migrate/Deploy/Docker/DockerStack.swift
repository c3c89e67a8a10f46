internal import DRPKit
internal import Foundation

/// One client's stack as the engine is told to make it: networks, volumes, containers. Pure.
struct DockerStack {
    /// Where a database's container has its data.
    static let dataFolder = "/data"
    /// Everything in the containers runs as this user, and the volumes belong to it; images need not know it.
    static let user = TarArchive.Owner(user: 10_001, group: 10_001)
    /// The members' numbers in each network; 1 is the host.
    static let serverNumber: UInt32 = 2
    static let apiNumber: UInt32 = 3

    let site: DockerSite
    let deployment: Deployment
    let spec: ContainerSpec
    let names: DockerNames

    func network(_ role: DockerNetworkRole, _ subnet: Subnet) -> JSONValue {
        [
            "Name": .text(names.network(role)), "CheckDuplicate": true, "Driver": "bridge",
            // Without a way out; the edge's network publishes ports, which needs one.
            "Internal": .boolean(role != .edge || site.isDrill), "EnableIPv6": false,
            "IPAM": ["Driver": "default", "Config": [["Subnet": .text("\(subnet)")]]],
            "Options": ["com.docker.network.bridge.name": .text(names.bridge(role))],
            "Labels": .object(labels(role.rawValue)),
        ]
    }

    func volume(_ role: DockerVolumeRole) -> JSONValue {
        [
            "Name": .text(names.volume(role)), "Driver": "local",
            "Labels": .object(labels(role.rawValue)),
        ]
    }

    /// Never started, and gone at once: the way by which files get into volumes.
    func courier() -> JSONValue {
        [
            "Image": .text(site.images.edge), "Cmd": ["/never-started"], "Labels": .object(labels("courier")),
            "HostConfig": [
                "NetworkMode": "none",
                "Mounts": .list(
                    DockerVolumeRole.allCases.map { mount($0, at: "/drp/\($0.rawValue)", isReadOnly: false) }),
            ],
        ]
    }

    /// What the courier carries, below `/drp`.
    func cargo(_ files: DockerFiles) -> [UInt8] {
        var archive = TarArchive()
        for volume in DockerVolumeRole.allCases {
            let isWritten = volume.isData || volume == .redisFiles
            archive.add(folder: volume.rawValue, mode: isWritten ? 0o700 : 0o500, owner: Self.user)
            for (name, content) in (files.content[volume] ?? [:]).sorted(by: { $0.key < $1.key }) {
                archive.add(
                    file: "\(volume.rawValue)/\(name)", content, mode: isWritten ? 0o600 : 0o400, owner: Self.user)
            }
        }
        return archive.bytes
    }

    /// The network that a container is made in; the API is a member of the others as well.
    static func home(of role: DockerRole) -> DockerNetworkRole {
        switch role {
        case .mongo: .mongo
        case .redis: .redis
        case .api, .edge: .edge
        }
    }

    static func networks(of role: DockerRole) -> [DockerNetworkRole] {
        role == .api ? [.edge, .mongo, .redis] : [home(of: role)]
    }

    /// How a container is known in a network, and at which address of it: fixed, so that it stays over a restart.
    static func endpoint(_ role: DockerRole, _ subnet: Subnet) -> JSONValue {
        let number = role == .api ? apiNumber : serverNumber
        return [
            "Aliases": [.text(role.rawValue)], "IPAMConfig": ["IPv4Address": .text(subnet.address(number))],
        ]
    }

    /// - Parameter filesDigest: of what is in the volume of its files.
    /// - Returns: The body of the request that makes it, with a label that changes whenever anything of it does.
    func container(_ role: DockerRole, _ subnet: Subnet, filesDigest: String) throws -> (JSONValue, digest: String) {
        let files = DockerVolumeRole.files(of: role)
        var host: [String: JSONValue] = [
            "NetworkMode": .text(names.network(Self.home(of: role))),
            "RestartPolicy": ["Name": "no"],
            "Memory": .integer(memory(role).bytes), "PidsLimit": .integer(role == .edge ? 64 : 512),
            "ReadonlyRootfs": true, "Tmpfs": ["/tmp": "rw,noexec,nosuid,nodev,size=32m"],
            "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges:true"],
            "LogConfig": ["Type": "json-file", "Config": ["max-size": "10m", "max-file": "3"]],
        ]
        // Redis writes down there what it is told: a write block must outlast a restart.
        var mounts = [mount(files, at: DockerFiles.folder, isReadOnly: role != .redis)]
        var body: [String: JSONValue] = [
            "User": .text("\(Self.user.user):\(Self.user.group)"), "Hostname": .text(role.rawValue),
            "NetworkingConfig": [
                "EndpointsConfig": .object([
                    names.network(Self.home(of: role)): Self.endpoint(role, subnet)
                ])
            ],
        ]
        switch role {
        case .mongo:
            body["Image"] = .text(site.images.mongo)
            body["Entrypoint"] = ["mongod", "--config", .text("\(DockerFiles.folder)/mongod.conf")]
            body["Healthcheck"] = Self.health(["bash", "-c", Self.connects(to: DockerFiles.mongoPort)])
            mounts.append(mount(.mongoData, at: Self.dataFolder, isReadOnly: false))
        case .redis:
            body["Image"] = .text(site.images.redis)
            body["Entrypoint"] = ["redis-server", .text("\(DockerFiles.folder)/redis.conf")]
            body["Healthcheck"] = Self.health(["redis-cli", "ping"])
            mounts.append(mount(.redisData, at: Self.dataFolder, isReadOnly: false))
        case .api:
            // Program and health check are the image's own.
            body["Image"] = .text(spec.image)
            body["Env"] = .list(
                environment.sorted { $0.key < $1.key }.map { .text("\($0.key)=\($0.value)") })
        case .edge:
            body["Image"] = .text(site.images.edge)
            body["Entrypoint"] = ["haproxy", "-f", .text("\(DockerFiles.folder)/haproxy.cfg")]
            body["Healthcheck"] = Self.health(["bash", "-c", Self.connects(to: DockerFiles.tlsPort)])
            // HAProxy leaves SIGTERM to the kernel, which keeps it from a container's first process.
            body["StopSignal"] = "SIGUSR1"
            body["ExposedPorts"] = .object([
                "\(DockerFiles.plainPort)/tcp": [:], "\(DockerFiles.tlsPort)/tcp": [:],
            ])
            if !site.isDrill {
                host["PortBindings"] = .object([
                    "\(DockerFiles.plainPort)/tcp": [published(80)], "\(DockerFiles.tlsPort)/tcp": [published(443)],
                ])
            }
        }
        if role == .mongo || role == .redis || site.isDrill {
            // Without it the engine itself would ask the Internet's name servers for them (CVE-2024-29018).
            host["Dns"] = ["127.0.0.1"]
            host["DnsOptions"] = ["timeout:1", "attempts:1"]
        }
        host["Mounts"] = .list(mounts)
        body["HostConfig"] = .object(host)
        body["Labels"] = .object(labels(role.rawValue))
        let text = try JSONValue.object(body).json() + filesDigest
        let digest = ContentHash(hashing: Array(text.utf8)).description
        body["Labels"] = .object(labels(role.rawValue).merging([DockerLabels.digest: .text(digest)]) { $1 })
        return (.object(body), digest)
    }

    /// No secret among them: everybody who may ask the engine can read them.
    private var environment: [String: String] {
        [
            "ADDRESS": "0.0.0.0", "PORT": "\(deployment.ports.api)", "DRP_CLIENT": deployment.client.text,
            "MONGO_URI_FILE": "\(DockerFiles.folder)/mongo.uri", "REDIS_URI_FILE": "\(DockerFiles.folder)/redis.uri",
        ]
    }

    private func memory(_ role: DockerRole) -> ByteCount {
        switch role {
        case .mongo: site.memory.mongo
        case .redis: site.memory.redis
        case .api: site.memory.api
        case .edge: site.memory.edge
        }
    }

    private func labels(_ role: String) -> [String: JSONValue] { DockerLabels.of(deployment, role: role) }

    /// What the image has at that place must not get into the volume.
    private func mount(_ role: DockerVolumeRole, at path: String, isReadOnly: Bool) -> JSONValue {
        [
            "Type": "volume", "Source": .text(names.volume(role)), "Target": .text(path),
            "ReadOnly": .boolean(isReadOnly), "VolumeOptions": ["NoCopy": true],
        ]
    }

    private func published(_ port: Int) -> JSONValue {
        ["HostIp": .text(deployment.address), "HostPort": .text("\(port)")]
    }

    /// In nanoseconds. For those who look at the host, and for its guard; drp itself asks the services.
    private static func health(_ command: [String]) -> JSONValue {
        [
            "Test": .list(["CMD"] + command.map { .text($0) }), "Interval": 10_000_000_000, "Timeout": 5_000_000_000,
            "StartPeriod": 30_000_000_000, "Retries": 3,
        ]
    }

    private static func connects(to port: Int) -> String { "exec 3<>/dev/tcp/127.0.0.1/\(port)" }
}
