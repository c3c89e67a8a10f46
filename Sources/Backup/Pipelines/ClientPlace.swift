package import DRPKit

/// How to reach the databases of one client.
package struct ClientDatabases: Sendable {
    package var mongo: MongoSettings?
    package var redis: RedisSettings?

    package init(mongo: MongoSettings?, redis: RedisSettings?) {
        self.mongo = mongo
        self.redis = redis
    }

    /// Fetches the secrets that `services` name.
    /// - Parameter way: leads to addresses inside the services' site; nil where they are reached as they are.
    package init(
        _ services: Services, side: RedisSide, resolver: SecretResolver, way: SiteReach.Way? = nil
    ) async throws {
        if let settings = services.mongo {
            var made = MongoSettings(uri: try await resolver.resolve(settings.uri), caFile: settings.ca)
            if let way { made.socket = try await way(try made.onlyServer(side == .source ? .source : .target)) }
            mongo = made
        }
        if let settings = services.redis {
            var made = try RedisSettings(
                uri: try await resolver.resolve(settings.uri), caFile: settings.ca, side: side)
            if let way { made.socket = try await way(HostPort(host: made.host, port: made.port)) }
            redis = made
        }
    }
}

/// Where a client lives now: where the last switch put it, else where the fleet file says.
package struct ClientPlace: Sendable, Hashable {
    package var site: SiteName
    /// Which host of the site its services are on; nil where nothing says so.
    package var host: String?
    /// The owner epoch; 0 before the first switch.
    package var epoch: Int
    package var services: Services
    /// Whether a switch has moved the client since the fleet file was written.
    package var isMoved: Bool

    package init(_ client: Client, placement: Placement?) throws {
        guard let placement else {
            site = client.site
            host = client.host
            epoch = 0
            services = client.services
            isMoved = false
            return
        }
        site = placement.site
        host = placement.site == client.site ? client.host : nil
        epoch = Int(placement.epoch)
        services = client.services
        isMoved = placement.site != client.site
        // Taken back to where the fleet file has it.
        if placement.services == .null { return }
        let files = try placement.services.decode(PlacedServices.self)
        host = files.host ?? host
        services.mongo = files.mongo.map { Services.Mongo(uri: .file(path: $0), ca: nil) }
        services.redis = files.redis.map {
            Services.Redis(uri: .file(path: $0), ca: nil, role: client.services.redis?.role ?? .store)
        }
    }
}

/// What a placement in the journal says of services: paths of files that hold one URI each.
package struct PlacedServices: Codable, Sendable, Hashable {
    package var mongo: String?
    package var redis: String?
    /// The host of the site that they are on; nil where that is no question.
    package var host: String?

    package init(mongo: String?, redis: String?, host: String? = nil) {
        self.mongo = mongo
        self.redis = redis
        self.host = host
    }
}
