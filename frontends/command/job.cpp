#include "job.hpp"
namespace ckpt::command {
taken take_job_option(job_options&, options::id, std::string_view) { return taken::no; }
int run_job(const job_options&, const settings&, const agent::config&, char**) { return 125; }
}
