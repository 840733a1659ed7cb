-- Progress keeps leases that still hold. ARGV[3] lease in ms, then per job: base, lease.

local bases, kept = {}, {}
for i = 4, #ARGV, 2 do bases[#bases + 1] = ARGV[i] end
load_recs(bases)
for lane = 1, #lanes do kept[lane] = {} end
for n, base in ipairs(bases) do
    local _, active = halves(recs[base])
    if active then
        local lane, slot, lease = parts(active)
        if lane and lease == ARGV[3 + n * 2] then
            kept[lane][#kept[lane] + 1] = whole_seconds(now + tonumber(ARGV[3]))
            kept[lane][#kept[lane] + 1] = id_of(base, slot)
        end
    end
end
for lane = 1, #lanes do
    if #kept[lane] > 0 then redis.call('ZADD', P[lane] .. 'lease', 'XX', 'GT', unpack(kept[lane])) end
end
return 0
