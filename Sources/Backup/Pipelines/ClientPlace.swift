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
    package init(_ services: Services, side: RedisSide, resolver: SecretResolver) async throws {
        if let settings = services.mongo {
            mongo = MongoSettings(uri: try await resolver.resolve(settings.uri), caFile: settings.ca)
        }
        if let settings = services.redis {
            redis = try RedisSettings(uri: try await resolver.resolve(settings.uri), caFile: settings.ca, side: side)
        }
    }
}

/// Where a client lives now: where the last switch put it, else where the fleet file says.
package struct ClientPlace: Sendable, Hashable {
    package var site: SiteName
    /// The owner epoch; 0 before the first switch.
    package var epoch: Int
    package var services: Services
    /// Whether a switch has moved the client since the fleet file was written.
    package var isMoved: Bool

    package init(_ client: Client, placement: Placement?) throws {
        guard let placement else {
            site = client.site
            epoch = 0
            services = client.services
            isMoved = false
            return
        }
        site = placement.site
        epoch = Int(placement.epoch)
        services = client.services
        isMoved = placement.site != client.site
        // Taken back to where the fleet file has it.
        if placement.services == .null { return }
        let files = try placement.services.decode(PlacedServices.self)
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

    package init(mongo: String?, redis: String?) {
        self.mongo = mongo
        self.redis = redis
    }
}
